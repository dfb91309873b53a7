//! Questions to DNS. A name is asked for once at a time; the question outlives the attempt that began
//! it, so that a slow answer serves the next one; and failures are told in words about DNS.

use std::collections::HashMap;
use std::future::ready;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::net::NetError;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::base::descriptors::is_out_of_descriptors;
use crate::distribution::origin::Family;
use crate::message::failure::{Failure, FailureKind};

/// At most so many lookups at a time may outlive their attempts. Others end with theirs.
const MOST: usize = 64;
/// How long one may go on.
const LONGEST: Duration = Duration::from_secs(30);

/// What a lookup comes to.
pub type Found = Result<Vec<IpAddr>, Failure>;

type Key = (String, Family);
type UnderWay = Mutex<HashMap<Key, watch::Receiver<Option<Found>>>>;

/// Lookups that are under way.
#[derive(Default)]
pub struct Lookups {
    under_way: Arc<UnderWay>,
}

// One of them; no longer among the others when dropped.
struct Entry {
    key: Key,
    under_way: Arc<UnderWay>,
    tell: watch::Sender<Option<Found>>,
}

impl Entry {
    fn tell(self, found: Found) {
        self.tell.send_replace(Some(found));
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.under_way.lock().remove(&self.key);
    }
}

impl Lookups {
    /// What `lookup` finds for a name, or what the one that is under way for it finds. `lookup` goes
    /// on when this is dropped.
    pub async fn ask(
        &self,
        name: &str,
        family: Family,
        lookup: impl Future<Output = Found> + Send + 'static,
    ) -> Found {
        let key = (name.to_string(), family);
        let begun = self.under_way.lock().get(&key).cloned();
        if let Some(heard) = begun {
            return hear(heard, name).await;
        }
        let mut lookup = Box::pin(lookup);
        // What lies in the resolver's memory is there at once, and needs no task.
        tokio::select! {
            biased;
            found = lookup.as_mut() => return found,
            () = ready(()) => {}
        }
        let Some((entry, heard)) = self.enter(key) else { return lookup.await };
        tokio::spawn(async move {
            if let Ok(found) = timeout(LONGEST, lookup).await {
                entry.tell(found);
            }
        });
        hear(heard, name).await
    }

    fn enter(&self, key: Key) -> Option<(Entry, watch::Receiver<Option<Found>>)> {
        let mut under_way = self.under_way.lock();
        if under_way.len() >= MOST || under_way.contains_key(&key) {
            return None;
        }
        let (tell, heard) = watch::channel(None);
        under_way.insert(key.clone(), heard.clone());
        Some((Entry { key, under_way: Arc::clone(&self.under_way), tell }, heard))
    }
}

async fn hear(mut heard: watch::Receiver<Option<Found>>, name: &str) -> Found {
    let found = match heard.wait_for(Option::is_some).await {
        Ok(found) => (*found).clone(),
        Err(_) => None,
    };
    found.unwrap_or_else(|| Err(unanswered(name, LONGEST)))
}

/// DNS has said nothing of a name for so long.
pub fn unanswered(name: &str, waited: Duration) -> Failure {
    let why = format!("DNS has not answered in {waited:?} where {name} is");
    Failure::new(FailureKind::DnsTimeout, why)
}

/// Why there are no addresses of a name.
pub fn failure(name: &str, error: &NetError) -> Failure {
    let (kind, why) = match error {
        NetError::Timeout => {
            (FailureKind::DnsTimeout, format!("no DNS server has answered where {name} is"))
        }
        NetError::Io(error) if is_out_of_descriptors(error) => (
            FailureKind::ConnectionLimit,
            format!("no open file is left to ask DNS for {name} (ulimit -n, LimitNOFILE): {error}"),
        ),
        error if error.is_nx_domain() => {
            (FailureKind::DnsError, format!("the name {name} does not exist"))
        }
        error if error.is_no_records_found() => {
            (FailureKind::DnsError, format!("the name {name} has no address"))
        }
        error => (FailureKind::DnsError, format!("{name}: {error}")),
    };
    Failure::new(kind, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::net::{DnsError, NoRecords};
    use hickory_resolver::proto::op::{Query, ResponseCode};
    use std::future::pending;
    use std::io;
    use std::net::Ipv4Addr;
    use tokio::time::{Instant, sleep};

    const SECOND: Duration = Duration::from_secs(1);

    fn one() -> Vec<IpAddr> {
        vec![IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))]
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_serves_the_attempt_after_the_one_that_asked() {
        let lookups = Lookups::default();
        let began = Instant::now();
        let slow = async {
            sleep(3 * SECOND).await;
            Ok(one())
        };
        let asked = lookups.ask("slow.test", Family::Both, slow);
        assert!(timeout(2 * SECOND, asked).await.is_err());
        let again = lookups.ask("slow.test", Family::Both, pending());
        assert_eq!(timeout(2 * SECOND, again).await, Ok(Ok(one())));
        assert_eq!(began.elapsed().as_secs(), 3);
        // What has come to an end is asked anew.
        let new = lookups.ask("slow.test", Family::Both, ready(Ok(Vec::new())));
        assert_eq!(new.await, Ok(Vec::new()));
        assert!(lookups.under_way.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_outlives_its_attempt_is_bounded_in_number_and_time() {
        let lookups = Lookups::default();
        let began = Instant::now();
        for at in 0..MOST + 8 {
            let name = format!("h{at}.test");
            let asked = lookups.ask(&name, Family::Ipv4, pending());
            assert!(timeout(Duration::from_millis(1), asked).await.is_err());
        }
        assert_eq!(lookups.under_way.lock().len(), MOST);
        let last = format!("h{}.test", MOST - 1);
        let failed = lookups.ask(&last, Family::Ipv4, pending()).await.unwrap_err();
        assert_eq!(failed.kind, FailureKind::DnsTimeout);
        assert!(began.elapsed() < LONGEST + SECOND, "{:?}", began.elapsed());
        assert!(lookups.under_way.lock().is_empty());
    }

    #[test]
    fn failures_are_told_in_words_about_dns() {
        let none =
            |code| NetError::Dns(DnsError::NoRecordsFound(NoRecords::new(Query::new(), code)));
        let full = NetError::from(io::Error::from_raw_os_error(24));
        for (error, kind, words) in [
            (
                NetError::Timeout,
                FailureKind::DnsTimeout,
                "no DNS server has answered where o.test is",
            ),
            (none(ResponseCode::NXDomain), FailureKind::DnsError, "the name o.test does not exist"),
            (none(ResponseCode::NoError), FailureKind::DnsError, "the name o.test has no address"),
            (
                NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail)),
                FailureKind::DnsError,
                "o.test: ",
            ),
            (full, FailureKind::ConnectionLimit, "no open file is left"),
        ] {
            let failed = failure("o.test", &error);
            assert_eq!(failed.kind, kind, "{error:?}");
            assert!(failed.detail.starts_with(words), "{}", failed.detail);
            assert!(!failed.detail.contains("Query"), "{}", failed.detail);
        }
    }
}

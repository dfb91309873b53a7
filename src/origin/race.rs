//! Connecting to the addresses of a name: one after the other, each a little later than the one
//! before, and the first connection counts (RFC 8305 §5). Some of them may become known meanwhile.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use super::addresses::{ADDRESSES_MAX, by_turns};

/// How long an attempt goes on alone (RFC 8305 §8, Connection Attempt Delay).
const STAGGER: Duration = Duration::from_millis(250);

/// Tries the addresses in their order until one connects; the others are given up then. One that
/// fails is followed by the next at once. `more` are tried by turns with those that are left when
/// they come. The error is the last one.
pub async fn race<T, F>(
    addresses: Vec<SocketAddr>,
    more: impl Future<Output = Vec<SocketAddr>>,
    mut dial: impl FnMut(SocketAddr) -> F,
) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let (mut left, mut tried) = (addresses.into_iter(), 0);
    let (mut more, mut has_all) = (pin!(more), false);
    let mut trying: Vec<Pin<Box<F>>> = Vec::new();
    let (mut is_due, mut last) = (true, None);
    let mut pause = pin!(tokio::time::sleep(STAGGER));
    poll_fn(|cx| {
        if !has_all && let Poll::Ready(late) = more.as_mut().poll(cx) {
            has_all = true;
            if !late.is_empty() {
                left = joined(left.as_slice(), late, tried).into_iter();
            }
        }
        loop {
            let mut at = 0;
            while at < trying.len() {
                match trying[at].as_mut().poll(cx) {
                    Poll::Ready(Ok(made)) => return Poll::Ready(Ok(made)),
                    Poll::Ready(Err(error)) => {
                        drop(trying.swap_remove(at));
                        (is_due, last) = (true, Some(error));
                    }
                    Poll::Pending => at += 1,
                }
            }
            if !is_due && pause.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let Some(address) = left.next() else {
                if !trying.is_empty() || !has_all {
                    return Poll::Pending;
                }
                let error = last.take().unwrap_or_else(|| io::Error::other("no address"));
                return Poll::Ready(Err(error));
            };
            tried += 1;
            trying.push(Box::pin(dial(address)));
            pause.as_mut().reset(Instant::now() + STAGGER);
            is_due = false;
        }
    })
    .await
}

// What is left to try. The other family is next where one has been tried already.
fn joined(left: &[SocketAddr], late: Vec<SocketAddr>, tried: usize) -> Vec<SocketAddr> {
    let mut all = match tried {
        0 => by_turns([left, &late[..]].concat()),
        _ => by_turns([&late[..], left].concat()),
    };
    all.truncate(ADDRESSES_MAX.saturating_sub(tried));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::ready;
    use std::sync::Mutex;

    /// What an address does: after so many milliseconds it connects, or fails.
    type Script = &'static [(u64, bool)];

    // Which address connected, when each was tried, and how long all of it took.
    async fn run(script: Script) -> (io::Result<usize>, Vec<u64>, u64) {
        let addresses = (0..script.len() as u16).map(v4).collect();
        run_with(script, addresses, ready(Vec::new())).await
    }

    /// Does not answer while a test looks.
    const STUCK: (u64, bool) = (60_000, true);

    fn v4(at: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], at))
    }

    fn v6(at: u16) -> SocketAddr {
        SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], at))
    }

    // The port of an address is its place in the script.
    async fn run_with(
        script: Script,
        addresses: Vec<SocketAddr>,
        more: impl Future<Output = Vec<SocketAddr>>,
    ) -> (io::Result<usize>, Vec<u64>, u64) {
        let began = Instant::now();
        let millis = move || u64::try_from(began.elapsed().as_millis()).unwrap();
        let tried = Mutex::new(Vec::new());
        let came = race(addresses, more, |address| {
            tried.lock().unwrap().push(millis());
            let at = usize::from(address.port());
            async move {
                let (after, connects) = script[at];
                tokio::time::sleep(Duration::from_millis(after)).await;
                if connects { Ok(at) } else { Err(io::Error::other(format!("{at} failed"))) }
            }
        })
        .await;
        (came, tried.into_inner().unwrap(), millis())
    }

    #[tokio::test(start_paused = true)]
    async fn rfc8305_5_each_begins_a_little_later_and_the_first_connection_counts() {
        let (came, tried, took) = run(&[(60_000, true), (10, true), (1, true)]).await;
        assert_eq!((came.unwrap(), tried, took), (1, vec![0, 250], 260));
        // A slow one may still be the first.
        let (came, tried, took) = run(&[(300, true), (60_000, true)]).await;
        assert_eq!((came.unwrap(), tried, took), (0, vec![0, 250], 300));
        let (came, tried, took) = run(&[(100, true), (1, true)]).await;
        assert_eq!((came.unwrap(), tried, took), (0, vec![0], 100));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_fails_is_followed_at_once() {
        let (came, tried, took) = run(&[(10, false), (20, true)]).await;
        assert_eq!((came.unwrap(), tried, took), (1, vec![0, 10], 30));
        let (came, tried, took) = run(&[(300, false), (20, false), (70, false)]).await;
        assert_eq!(came.unwrap_err().to_string(), "2 failed");
        assert_eq!((tried, took), (vec![0, 250, 270], 340));
        assert_eq!(run(&[]).await.0.unwrap_err().to_string(), "no address");
    }

    #[tokio::test(start_paused = true)]
    async fn rfc8305_3_addresses_that_become_known_meanwhile_are_next() {
        let late = |after: u64, found: &[SocketAddr]| {
            let found = found.to_vec();
            async move {
                tokio::time::sleep(Duration::from_millis(after)).await;
                found
            }
        };
        // The other family's come while the first is tried, and go before what else there is of it.
        let script = &[STUCK, STUCK, (10, true)];
        let more = late(100, &[v6(2)]);
        let (came, tried, took) = run_with(script, vec![v4(0), v4(1)], more).await;
        assert_eq!((came.unwrap(), tried, took), (2, vec![0, 250], 260));
        // They come when nothing is left to try, and when all has failed.
        for (first, after, at) in [(STUCK, 400, 400), ((10, false), 400, 400)] {
            let script: Script = match first {
                STUCK => &[STUCK, (10, true)],
                _ => &[(10, false), (10, true)],
            };
            let more = late(after, &[v4(1)]);
            let (came, tried, took) = run_with(script, vec![v6(0)], more).await;
            assert_eq!((came.unwrap(), tried, took), (1, vec![0, at], at + 10));
        }
        // There are none, and that is known later than that all has failed.
        let (came, tried, took) = run_with(&[(10, false)], vec![v4(0)], late(90, &[])).await;
        assert_eq!(
            (came.unwrap_err().to_string().as_str(), tried, took),
            ("0 failed", vec![0], 90)
        );
        // They are there before anything was tried: the first family leads.
        let (came, tried, took) =
            run_with(&[STUCK, (10, true)], vec![v6(0)], ready(vec![v4(1)])).await;
        assert_eq!((came.unwrap(), tried, took), (1, vec![0, 250], 260));
    }

    #[test]
    fn late_ones_do_not_make_an_attempt_longer_than_it_may_be() {
        let (left, late): (Vec<_>, Vec<_>) = ((0..10).map(v4).collect(), (0..10).map(v6).collect());
        assert_eq!(joined(&left, late.clone(), 0).len(), ADDRESSES_MAX);
        assert_eq!(joined(&left, late.clone(), 0)[..2], [v4(0), v6(0)]);
        assert_eq!(joined(&left, late.clone(), 6)[..2], [v6(0), v4(0)]);
        assert_eq!(joined(&left, late.clone(), 6).len(), ADDRESSES_MAX - 6);
        assert!(joined(&left, late, ADDRESSES_MAX).is_empty());
    }
}

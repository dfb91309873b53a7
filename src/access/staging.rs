//! Which of a distribution's two sides a viewer sees: the primary one or the one that is tried out
//! (CloudFront's continuous deployment).

use crate::base::share::Share;
use crate::distribution::staging::{Chosen, Staging, Sticky};
use crate::message::request::RequestHead;
use crate::semantics::lists::trim;
use crate::semantics::time::Timestamp;

/// The cookie that keeps a viewer on its side.
pub const COOKIE: &str = "aws-cf-cd-session";

/// A side, and since when a viewer has been on it, in seconds; as the cookie says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    pub is_staging: bool,
    pub since: u64,
    /// The cookie is to be sent, or sent again.
    pub is_news: bool,
}

/// Says whether a request is for the side that is tried out, and what is to be remembered of that.
pub fn choose(
    staging: &Staging,
    head: &RequestHead<'_>,
    now: Timestamp,
) -> (bool, Option<Session>) {
    match &staging.chosen {
        Chosen::Promoted => (true, None),
        Chosen::ByHeader { name, value } => {
            let is_it = head.fields.get_all(name.as_str()).any(|line| line == value.as_bytes());
            (is_it, None)
        }
        Chosen::ByWeight { share, sticky: None } => (draw(head, *share), None),
        Chosen::ByWeight { share, sticky: Some(sticky) } => {
            let session = remembered(head, staging, *sticky, now).unwrap_or_else(|| Session {
                is_staging: draw(head, *share),
                since: now.secs(),
                is_news: true,
            });
            (session.is_staging, Some(session))
        }
    }
}

// As good as by chance, and the same whenever one request is looked at again.
fn draw(head: &RequestHead<'_>, share: Share) -> bool {
    share.takes(head.id.sample(Share::ALL))
}

// `1.<since>.<last>`: the side, when it was drawn, and when the cookie was sent.
fn remembered(
    head: &RequestHead<'_>,
    staging: &Staging,
    sticky: Sticky,
    now: Timestamp,
) -> Option<Session> {
    let pairs =
        head.fields.get_all("cookie").flat_map(|line| line.split(|octet| *octet == b';')).map(trim);
    let said = pairs
        .filter_map(|pair| std::str::from_utf8(pair).ok()?.split_once('='))
        .find(|(name, _)| *name == COOKIE)?
        .1;
    let mut parts = said.split('.');
    let (side, since, last) =
        (parts.next()?, parts.next()?.parse::<u64>().ok()?, parts.next()?.parse::<u64>().ok()?);
    let now = now.secs();
    // What lies in the future was not sent by us.
    let is_over =
        since > now || last > now || now - since >= sticky.most || now - last >= sticky.idle;
    if is_over || parts.next() != Some(&staging.mark) {
        return None;
    }
    Some(Session { is_staging: side == "1", since, is_news: now - last >= sticky.idle / 2 })
}

/// The value of Set-Cookie for a session.
pub fn cookie(session: Session, staging: &Staging, sticky: Sticky, now: Timestamp) -> String {
    let (side, since, now, mark) =
        (u8::from(session.is_staging), session.since, now.secs(), &staging.mark);
    format!(
        "{COOKIE}={side}.{since}.{now}.{mark}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax",
        sticky.idle
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::request::{RequestId, ViewerRequest};

    fn judge(
        staging: &Staging,
        id: u64,
        cookie: Option<&str>,
        now: u64,
    ) -> (bool, Option<Session>) {
        let mut request = ViewerRequest::get("http://h/");
        request.id = RequestId(id);
        if let Some(cookie) = cookie {
            request = request.with_field("cookie", cookie);
        }
        choose(staging, &request.head(), Timestamp::from_secs(now))
    }

    #[test]
    fn a_weight_is_a_share_and_a_session_stays_where_it_is() {
        let sticky = Sticky { idle: 300, most: 600 };
        let staging = |sticky| Staging {
            distribution: 1,
            chosen: Chosen::ByWeight { share: Share::of_percent(10.0).unwrap(), sticky },
            mark: "m".into(),
        };
        let share = (0..10_000).filter(|id| judge(&staging(None), *id, None, 1000).0).count();
        assert!((800..1200).contains(&share), "{share}");
        let with = staging(Some(sticky));
        let (side, session) = judge(&with, 7, None, 1000);
        let told = cookie(session.unwrap(), &with, sticky, Timestamp::from_secs(1000));
        let told = told.split(';').next().unwrap();
        for id in 0..100 {
            let (again, session) = judge(&with, id, Some(&format!("a=b; {told}")), 1100);
            assert_eq!((again, session.unwrap().is_news), (side, false));
        }
        assert!(
            judge(&with, 1, Some(told), 1200).1.unwrap().is_news,
            "sent again before it runs out"
        );
        for (cookie, now) in [
            (told, 1300),
            (told, 999),
            ("aws-cf-cd-session=1.1.1.other", 1),
            ("aws-cf-cd-session=1.x", 1),
            ("aws-cf-cd-session=", 1),
        ] {
            assert_eq!(
                judge(&with, 1, Some(cookie), now).1.unwrap().since,
                now,
                "{cookie} at {now} is drawn anew"
            );
        }
    }
}

//! Watches the body of a parent's answer: one that breaks off, stalls or trickles counts against
//! that parent.
//!
//! What breaks here is to be gone on with elsewhere: the error of the body says so to its reader,
//! and [`can_go_on`] says whether that is possible at all.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::ETAG;
use tokio::time::{Instant, Sleep};

use super::health::SLOW;
use super::{AskContext, Counts, Parent};
use crate::body::{Body, BodyError, Source};
use crate::message::response::Reply;

/// A parent that gives fewer octets a second, while we wait for them, is worse than the next hop.
pub const LEAST_RATE: u64 = 256 << 10;
/// So long a body may take to get going.
const GRACE: Duration = Duration::from_millis(500);

/// Says whether the rest of a body can be had from another hop if it breaks: of known length, under
/// a strong tag.
pub fn can_go_on(reply: &Reply) -> bool {
    let is_strong = reply.fields.get(&ETAG).is_some_and(|tag| tag.as_bytes().starts_with(b"\""));
    matches!(reply.status, 200 | 206) && is_strong && reply.body.length().is_some()
}

/// How a body comes: what came, and how long we waited for it. Time in which the reader asked for
/// no more does not count.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    octets: u64,
    waited: Duration,
}

impl Pace {
    // So long one may have waited for it in all; beyond this it is too slow.
    fn allowance(&self) -> Duration {
        GRACE.max(Duration::from_millis(self.octets.saturating_mul(1000) / LEAST_RATE))
    }

    fn is_too_slow(&self) -> bool {
        self.waited >= self.allowance()
    }
}

/// Which hop is at fault if a body comes slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slowness {
    /// The parent's: it has every octet, or it is slow to answer at all.
    Counts,
    /// It may be the origin's behind it. It is left, and not blamed.
    Excused,
}

/// What is told of a body, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    /// It came whole: so many octets.
    Whole(u64),
    /// It broke off, stalled, or was left for being slow, after so many octets.
    Broke { after: u64, why: BodyError, counts: bool },
}

/// Wraps a parent's body. `shown` is how long its first sign took; `window` is how long what became
/// of it counts beside other parents' answers.
pub(super) fn watch(
    reply: &mut Reply,
    parent: &Parent,
    around: &AskContext<'_>,
    shown: Duration,
    window: Duration,
) {
    if !matches!(reply.body, Body::Wire(..)) {
        return parent.health.succeeded(reply.body.length().unwrap_or(0));
    }
    let is_whole = reply.tier().is_some_and(|facts| facts.is_whole);
    let slowness = if is_whole || shown >= SLOW { Slowness::Counts } else { Slowness::Excused };
    let may_leave = can_go_on(reply);
    let parent = parent.clone();
    let (clock, totals) = (around.clock.clone(), Arc::clone(around.counts));
    let tell = move |news| match news {
        News::Whole(octets) => parent.health.succeeded(octets),
        News::Broke { after, why, counts } => {
            Counts::add(&totals.failed);
            if counts {
                let now = clock.now();
                parent.health.broke(now, after);
                parent.record.turned_bad(now, window);
            }
            tracing::warn!(parent = parent.name, octets = after, why = %why, "a parent's body broke off, or came too slowly");
        }
    };
    let body = std::mem::take(&mut reply.body);
    let length = body.length();
    reply.body =
        Body::Wire(Box::new(Watched::new(body, slowness, may_leave, Box::new(tell))), length);
}

struct Watched {
    body: Body,
    length: Option<u64>,
    pace: Pace,
    /// Since when we wait for the next piece.
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    slowness: Slowness,
    /// The rest can be had elsewhere.
    may_leave: bool,
    tell: Option<Box<dyn FnOnce(News) + Send>>,
}

impl Watched {
    fn new(
        body: Body,
        slowness: Slowness,
        may_leave: bool,
        tell: Box<dyn FnOnce(News) + Send>,
    ) -> Self {
        let length = body.length();
        Self {
            body,
            length,
            pace: Pace::default(),
            since: None,
            timer: None,
            slowness,
            may_leave,
            tell: Some(tell),
        }
    }

    fn came(&mut self, piece: Option<&Result<Bytes, BodyError>>) {
        if let Some(since) = self.since.take() {
            self.pace.waited += since.elapsed();
        }
        match piece {
            Some(Ok(octets)) => {
                self.pace.octets += octets.len() as u64;
                // A reader that knows the length does not ask for the end.
                if self.length == Some(self.pace.octets) {
                    self.ended();
                }
            }
            None => self.ended(),
            Some(Err(why)) => {
                self.tell(News::Broke { after: self.pace.octets, why: *why, counts: true })
            }
        }
    }

    // A body that no other hop could go on with was not left; it came too slowly all the same.
    fn ended(&mut self) {
        let octets = self.pace.octets;
        let is_blamed = self.pace.is_too_slow() && self.slowness == Slowness::Counts;
        self.tell(if is_blamed {
            News::Broke { after: octets, why: BodyError::Stalled, counts: true }
        } else {
            News::Whole(octets)
        });
    }

    fn tell(&mut self, news: News) {
        if let Some(tell) = self.tell.take() {
            tell(news);
        }
    }

    // Ready when the parent is to be left.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        if !self.may_leave {
            return Poll::Pending;
        }
        let so_far = Pace { waited: self.pace.waited + now.duration_since(since), ..self.pace };
        if so_far.is_too_slow() {
            return Poll::Ready(());
        }
        let at = now + so_far.allowance().saturating_sub(so_far.waited);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        timer.as_mut().poll(cx)
    }
}

impl Source for Watched {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        match self.body.poll_piece(cx) {
            Poll::Ready(piece) => {
                self.came(piece.as_ref());
                Poll::Ready(piece)
            }
            Poll::Pending => self.poll_patience(cx).map(|()| {
                let counts = self.slowness == Slowness::Counts;
                self.tell(News::Broke { after: self.pace.octets, why: BodyError::Stalled, counts });
                // The connection is closed here: the rest is not read from it.
                self.body = Body::Empty;
                Some(Err(BodyError::Stalled))
            }),
        }
    }
}

/// Reads as much of a probe's answer as tells whether its parent can be trusted again: octets read,
/// or `None` if it cannot.
pub async fn try_out(mut body: Body, most: u64) -> Option<u64> {
    let began = Instant::now();
    let mut pace = Pace::default();
    while pace.octets < most {
        match body.piece().await {
            Some(Ok(piece)) => pace.octets += piece.len() as u64,
            Some(Err(_)) => return None,
            None => break,
        }
    }
    pace.waited = began.elapsed();
    (!pace.is_too_slow()).then_some(pace.octets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::response::ReplyFrom;
    use crate::semantics::fields::FieldSection;
    use crate::semantics::time::Timestamp;

    fn pace(octets: u64, millis: u64) -> Pace {
        Pace { octets, waited: Duration::from_millis(millis) }
    }

    #[test]
    fn what_trickles_is_too_slow_and_what_only_begins_late_is_not() {
        assert!(!pace(0, 499).is_too_slow() && pace(0, 500).is_too_slow());
        // 16 KiB each 200 ms.
        assert!(pace(48 << 10, 600).is_too_slow());
        // A MiB in two seconds, and in four.
        assert!(!pace(1 << 20, 2000).is_too_slow() && pace(1 << 20, 4000).is_too_slow());
    }

    #[test]
    fn only_what_can_be_gone_on_with_is_left() {
        let reply = |status, tag: Option<&'static str>, body| {
            let mut fields = FieldSection::new();
            if let Some(tag) = tag {
                fields.insert(&ETAG, tag);
            }
            let at = Timestamp(0);
            Reply {
                status,
                fields,
                body,
                asked_at: at,
                arrived_at: at,
                from: ReplyFrom::Parent(Box::new(("p".into(), None))),
            }
        };
        let whole = || Body::Bytes(Bytes::from_static(b"x"));
        assert!(can_go_on(&reply(200, Some("\"a\""), whole())));
        assert!(!can_go_on(&reply(200, Some("W/\"a\""), whole())));
        assert!(!can_go_on(&reply(200, None, whole())));
        assert!(can_go_on(&reply(206, Some("\"a\""), whole())));
        assert!(!can_go_on(&reply(404, Some("\"a\""), whole())));
        let endless = Body::Wire(Box::new(Pieces::new(&[], None)), None);
        assert!(!can_go_on(&reply(200, Some("\"a\""), endless)));
    }

    // A piece of so many octets after each wait; then its end, or the error.
    struct Pieces {
        waits: std::collections::VecDeque<(u64, usize)>,
        ends_by: Option<BodyError>,
        timer: Option<Pin<Box<Sleep>>>,
    }

    impl Pieces {
        fn new(waits: &[(u64, usize)], ends_by: Option<BodyError>) -> Self {
            Self { waits: waits.iter().copied().collect(), ends_by, timer: None }
        }
    }

    impl Source for Pieces {
        fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
            let Some((millis, octets)) = self.waits.front().copied() else {
                return Poll::Ready(self.ends_by.map(Err));
            };
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::from_millis(millis))));
            std::task::ready!(timer.as_mut().poll(cx));
            self.timer = None;
            self.waits.pop_front();
            Poll::Ready(Some(Ok(Bytes::from(vec![b'x'; octets]))))
        }
    }

    // What a reader that rests so long before each piece gets, and what is told.
    async fn read(
        source: Pieces,
        length: u64,
        may_leave: bool,
        rests: u64,
    ) -> (u64, Option<BodyError>, Vec<News>) {
        read_from(Slowness::Excused, source, length, may_leave, rests).await
    }

    async fn read_from(
        slowness: Slowness,
        source: Pieces,
        length: u64,
        may_leave: bool,
        rests: u64,
    ) -> (u64, Option<BodyError>, Vec<News>) {
        let told = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        let tell = Box::new(move |news: News| heard.lock().push(news));
        let mut body =
            Watched::new(Body::Wire(Box::new(source), Some(length)), slowness, may_leave, tell);
        let (mut got, mut broke) = (0, None);
        while broke.is_none() {
            tokio::time::sleep(Duration::from_millis(rests)).await;
            match std::future::poll_fn(|cx| body.poll_piece(cx)).await {
                Some(Ok(piece)) => got += piece.len() as u64,
                Some(Err(why)) => broke = Some(why),
                None => break,
            }
        }
        let told = told.lock().clone();
        (got, broke, told)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_told_of_once() {
        let whole = Pieces::new(&[(1, 600), (1, 400)], None);
        assert_eq!(read(whole, 1000, true, 0).await, (1000, None, vec![News::Whole(1000)]));
        for why in [BodyError::Truncated, BodyError::Stalled] {
            let cut = Pieces::new(&[(1, 600)], Some(why));
            let news = News::Broke { after: 600, why, counts: true };
            assert_eq!(read(cut, 1000, true, 0).await, (600, Some(why), vec![news]));
        }
        // Ended early without an error: it is held to its length.
        let short = Pieces::new(&[(1, 600)], None);
        assert_eq!(read(short, 1000, true, 0).await.1, Some(BodyError::Truncated));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_is_left_where_it_can_be_gone_on_with() {
        let trickle = || Pieces::new(&[(200, 16 << 10); 25], None);
        let began = Instant::now();
        let (got, broke, told) = read(trickle(), 25 * (16 << 10), true, 0).await;
        assert_eq!((broke, got), (Some(BodyError::Stalled), 2 * (16 << 10)));
        assert!(began.elapsed() < Duration::from_millis(600), "{:?}", began.elapsed());
        assert_eq!(told, [News::Broke { after: got, why: BodyError::Stalled, counts: false }]);
        // No other hop could go on: slow is better than broken.
        let all = 25 * (16 << 10);
        assert_eq!(read(trickle(), all, false, 0).await, (all, None, vec![News::Whole(all)]));
        // A parent that has every octet is blamed for it.
        let blamed = read_from(Slowness::Counts, trickle(), all, false, 0).await;
        assert_eq!(
            blamed,
            (all, None, vec![News::Broke { after: all, why: BodyError::Stalled, counts: true }])
        );
        // One that hangs from the start.
        assert_eq!(
            read(Pieces::new(&[(60_000, 1)], None), 1, true, 0).await.1,
            Some(BodyError::Stalled)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_nobodys_fault() {
        let quick = Pieces::new(&[(1, 1000); 20], None);
        assert_eq!(read(quick, 20_000, true, 400).await.1, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_wants_the_body_too() {
        let body =
            |waits: &[(u64, usize)], end| Body::Wire(Box::new(Pieces::new(waits, end)), None);
        assert_eq!(try_out(body(&[(1, 700), (1, 300)], None), 1 << 20).await, Some(1000));
        assert_eq!(
            try_out(body(&[(1, 700), (1, 300)], None), 500).await,
            Some(700),
            "no more than asked for"
        );
        assert_eq!(try_out(body(&[(1, 700)], Some(BodyError::Truncated)), 1 << 20).await, None);
        assert_eq!(try_out(body(&[(200, 16 << 10); 25], None), 1 << 20).await, None, "it trickles");
    }
}

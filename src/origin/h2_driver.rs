//! What keeps one HTTP/2 connection to an origin going: its frames are read and written, what the
//! origin says of its limits is passed on, and it is asked whether it is still there.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::h2::client::Connection;
use ::h2::{Ping, PingPong};
use bytes::Bytes;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::h2_pulse::{Pulse, Sign};
use super::h2_wire::{Heard, Watched};

/// How often it is looked after.
const TICK: Duration = Duration::from_secs(1);

/// So many ticks a connection may take to end.
const ENDING: u32 = 5;

/// A connection that is to be driven.
pub struct Driven {
    pub connection: Box<Connection<Watched, Bytes>>,
    pub heard: Arc<Heard>,
}

/// Whoever hands out the streams of a connection.
pub trait Keeper: Send {
    /// How many requests it carries; `None` once it is to end.
    fn carried(&self) -> Option<usize>;

    /// The origin takes so many requests at a time from now on.
    fn takes(&mut self, streams: usize);
}

/// Drives a connection to its end, and says why that came. The origin has `patience` for its first
/// word.
pub async fn drive(driven: Driven, keeper: &mut impl Keeper, patience: Duration) -> String {
    let Driven { mut connection, heard } = driven;
    let pings = connection.ping_pong();
    let mut ticks = interval_at(Instant::now() + TICK, TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut driver = Driver {
        connection,
        pings,
        heard,
        known: 0,
        streams: None,
        pulse: Pulse::default(),
        speaks_by: Instant::now() + patience,
        ending: 0,
    };
    poll_fn(|cx| driver.poll(keeper, &mut ticks, cx)).await
}

struct Driver {
    connection: Box<Connection<Watched, Bytes>>,
    pings: Option<PingPong>,
    heard: Arc<Heard>,
    /// Octets that were heard of already.
    known: u64,
    /// How many requests the origin takes at a time, once it has said so.
    streams: Option<usize>,
    pulse: Pulse,
    speaks_by: Instant,
    ending: u32,
}

impl Driver {
    fn poll(
        &mut self,
        keeper: &mut impl Keeper,
        ticks: &mut Interval,
        cx: &mut Context<'_>,
    ) -> Poll<String> {
        loop {
            if let Poll::Ready(end) = Pin::new(&mut *self.connection).poll(cx) {
                let why = end.err().map(|error| error.to_string());
                return Poll::Ready(why.unwrap_or_else(|| "the connection was closed".into()));
            }
            self.look_at_limit(keeper);
            if self.pulse.is_asked()
                && let Some(pings) = &mut self.pings
                && let Poll::Ready(Ok(_)) = pings.poll_pong(cx)
            {
                self.pulse.answered();
                self.known = self.heard.octets();
            }
            ready!(ticks.poll_tick(cx));
            if let Some(why) = self.tick(keeper) {
                return Poll::Ready(why.into());
            }
        }
    }

    // The first frame is SETTINGS (RFC 9113 §3.4): an origin that has sent anything has said how
    // many requests it takes. Others may follow.
    fn look_at_limit(&mut self, keeper: &mut impl Keeper) {
        if self.heard.octets() == 0 {
            return;
        }
        let streams = Some(self.connection.max_concurrent_send_streams());
        if let Some(most) = streams.filter(|_| streams != self.streams) {
            self.streams = streams;
            keeper.takes(most);
        }
    }

    fn tick(&mut self, keeper: &impl Keeper) -> Option<&'static str> {
        if self.streams.is_none() && Instant::now() >= self.speaks_by {
            return Some("not a word of HTTP/2 came");
        }
        let octets = self.heard.octets();
        let has_heard = octets != std::mem::replace(&mut self.known, octets);
        let Some(carried) = keeper.carried() else {
            self.ending += 1;
            return (self.ending > ENDING).then_some("the connection did not end by itself");
        };
        match self.pulse.tick(TICK, has_heard, carried > 0) {
            Sign::Nothing => None,
            Sign::Ask => {
                if let Some(pings) = &mut self.pings {
                    // One that ended is noticed where it is driven.
                    let _ = pings.send_ping(Ping::opaque());
                }
                None
            }
            Sign::Dead => Some("no answer to a PING"),
        }
    }
}

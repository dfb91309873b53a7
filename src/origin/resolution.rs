//! When what DNS has told of a name is enough to begin connecting, while it still owes the rest
//! (RFC 8305 §3).

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::time::Duration;

use tokio::time::timeout;

/// How long both families are waited for (RFC 8305 §8, Resolution Delay). The resolver tells of both
/// together, so this counts from the question, and not from the first of the two answers.
const DELAY: Duration = Duration::from_millis(50);

/// What is known when connecting may begin.
#[derive(Debug, PartialEq, Eq)]
pub enum Known<R> {
    /// All that there is.
    All(R),
    /// One family's addresses. All of them are still to come.
    Part(Vec<SocketAddr>),
}

/// Waits for all addresses; and once these are late, for those of either family. The families are
/// asked for by themselves only then, and one that has no addresses counts for nothing.
pub async fn known<R>(
    mut all: Pin<&mut impl Future<Output = R>>,
    v6: impl Future<Output = Vec<SocketAddr>>,
    v4: impl Future<Output = Vec<SocketAddr>>,
) -> Known<R> {
    if let Ok(found) = timeout(DELAY, all.as_mut()).await {
        return Known::All(found);
    }
    let (mut v6, mut v4) = (pin!(v6), pin!(v4));
    let (mut has_v6, mut has_v4) = (false, false);
    loop {
        let part = tokio::select! {
            biased;
            found = all.as_mut() => return Known::All(found),
            found = v6.as_mut(), if !has_v6 => {
                has_v6 = true;
                found
            }
            found = v4.as_mut(), if !has_v4 => {
                has_v4 = true;
                found
            }
        };
        if !part.is_empty() {
            return Known::Part(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{Instant, sleep};

    // After how many milliseconds an answer comes, if it does, and how many addresses it has.
    type Answer = Option<(u64, u16)>;

    async fn answer(said: Answer) -> Vec<SocketAddr> {
        let Some((after, count)) = said else { return std::future::pending().await };
        if after > 0 {
            sleep(Duration::from_millis(after)).await;
        }
        (0..count).map(|at| SocketAddr::from(([192, 0, 2, 1], at))).collect()
    }

    // What was known in the end, and after how many milliseconds.
    async fn run(all: Answer, v6: Answer, v4: Answer) -> (Known<usize>, u128) {
        let began = Instant::now();
        let all = async { answer(all).await.len() };
        let found = known(pin!(all), answer(v6), answer(v4)).await;
        (found, began.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn rfc8305_3_one_family_does_not_wait_for_long_for_the_other() {
        let part = |count: u16| {
            Known::Part((0..count).map(|at| SocketAddr::from(([192, 0, 2, 1], at))).collect())
        };
        let never = None;
        for (all, v6, v4, known, took) in [
            // Both are there in time; nothing else is asked.
            (Some((40, 3)), Some((0, 1)), Some((0, 2)), Known::All(3), 40),
            // One answer came and lies in the resolver's memory, the other is lost on its way.
            (never, never, Some((0, 2)), part(2), 50),
            (never, Some((0, 1)), never, part(1), 50),
            // Neither has come yet.
            (never, never, Some((30, 2)), part(2), 80),
            (Some((70, 3)), never, Some((30, 2)), Known::All(3), 70),
            // IPv6 leads where both are there.
            (never, Some((0, 1)), Some((0, 2)), part(1), 50),
            // A family without addresses is nothing to begin with.
            (never, Some((0, 0)), Some((10, 2)), part(2), 60),
            (Some((5000, 0)), Some((0, 0)), Some((0, 0)), Known::All(0), 5000),
        ] {
            assert_eq!(run(all, v6, v4).await, (known, took), "{all:?} {v6:?} {v4:?}");
        }
    }
}

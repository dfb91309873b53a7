//! Connections to an engine that end in the middle of a value: whoever waited has another one made,
//! what comes is whole, and no viewer sees any of it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use foreshore::distribution::tier::{Engine, MemcachedMode};
use foreshore::message::stored::Stored;
use foreshore::tier::{Found, Got, Tier};

use super::support::origin::answer;
use super::support::{Dice, Origin, eventually, free_port, tool};
use super::tier::{
    MEMCACHED, REDIS, SINGLE, memcached, on_a_core, plain_redis, put, response, settings, start,
};
use super::tier_access::Access;
use super::tier_engines::{Settings, two_edges_on, under_load};

/// So many reads of each kind are cut.
const ROUNDS: u64 = 40;

/// Where what an engine answers is cut.
struct Cuts {
    /// So many octets of answers come before a connection is.
    left: Option<u64>,
    /// After each cut another one follows within so many octets.
    within: Option<u64>,
    dice: Dice,
    made: u64,
}

impl Cuts {
    /// How many of so many octets go on, and whether their connection ends behind them.
    fn pass(&mut self, len: usize) -> (usize, bool) {
        let Some(left) = self.left else { return (len, false) };
        if (len as u64) < left {
            self.left = Some(left - len as u64);
            return (len, false);
        }
        self.made += 1;
        self.left = self.within.map(|within| 1 + self.dice.roll(within));
        (usize::try_from(left).unwrap(), true)
    }
}

/// Stands before an engine: where it is reached, and what is to be cut.
fn relay(to: u16) -> (u16, Arc<Mutex<Cuts>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let cuts = Cuts { left: None, within: None, dice: Dice::new(11, 1), made: 0 };
    let cuts = Arc::new(Mutex::new(cuts));
    let told = Arc::clone(&cuts);
    std::thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let Ok(far) = TcpStream::connect(("127.0.0.1", to)) else { continue };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let (asking, asked) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            let told = Arc::clone(&told);
            std::thread::spawn(move || pump(asking, asked, |len| (len, false)));
            std::thread::spawn(move || pump(far, near, |len| told.lock().unwrap().pass(len)));
        }
    });
    (port, cuts)
}

fn pump(mut from: TcpStream, mut to: TcpStream, mut pass: impl FnMut(usize) -> (usize, bool)) {
    let mut octets = [0; 8192];
    while let Ok(len @ 1..) = from.read(&mut octets) {
        let (len, is_cut) = pass(len);
        if to.write_all(&octets[..len]).is_err() || is_cut {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

async fn got(tier: &Arc<Tier>, stored: &Stored) -> Box<Found> {
    match tier.get(&stored.key, tier.total_deadline()).await {
        Got::Found(found) => found,
        Got::Miss(trouble) => panic!("{trouble:?} {:?}", tier.status()),
    }
}

// One cut within what is read costs its reader another connection, and nothing else.
fn reads_survive_a_cut(engine: Engine, port: u16, cuts: &Mutex<Cuts>) {
    on_a_core(async {
        let tier = start(&settings(engine, port));
        let (small, large) = (response("/small", 10_000), response("/large", 100_000));
        put(&tier, &small).await;
        put(&tier, &large).await;
        let outline = got(&tier, &large).await.meta.outline;
        let whole = large.content.whole().unwrap();
        let mut dice = Dice::new(7, 3);
        for round in 1..=ROUNDS {
            cuts.lock().unwrap().left = Some(1 + dice.roll(10_000));
            let found = got(&tier, &small).await;
            assert!(found.meta.body.as_deref() == small.content.whole(), "round {round}");
            cuts.lock().unwrap().left = Some(1 + dice.roll(60_000));
            let piece = tier.piece(&large.key, &outline, 0, tier.total_deadline()).await;
            assert!(piece.unwrap() == whole[..outline.piece_len(0)], "round {round}");
            assert_eq!(cuts.lock().unwrap().made, 2 * round);
        }
    });
}

#[test]
fn a_read_that_was_cut_is_read_again() {
    if !tool::have(&[REDIS, MEMCACHED]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = plain_redis(folder.path(), free_port());
    let (port, cuts) = relay(server.port);
    reads_survive_a_cut(SINGLE, port, &cuts);
    let server = memcached(free_port(), &[]);
    let (port, cuts) = relay(server.port);
    reads_survive_a_cut(Engine::Memcached(MemcachedMode::Fixed), port, &cuts);
}

// All that wait on a connection are in it together: one makes the next, and all of them ask again.
#[test]
fn all_that_waited_on_a_connection_ask_again() {
    if !tool::have(&[REDIS, MEMCACHED]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let redis = plain_redis(folder.path(), free_port());
    let memcached = memcached(free_port(), &[]);
    let fixed = Engine::Memcached(MemcachedMode::Fixed);
    for (engine, to) in [(SINGLE, redis.port), (fixed, memcached.port)] {
        let (port, cuts) = relay(to);
        on_a_core(async {
            let tier = start(&settings(engine, port));
            let stored = response("/a", 10_000);
            put(&tier, &stored).await;
            for left in [1, 5_000, 15_000, 40_000] {
                cuts.lock().unwrap().left = Some(left);
                let readers: Vec<_> = (0..8)
                    .map(|_| {
                        let (tier, stored) = (Arc::clone(&tier), Arc::clone(&stored));
                        tokio::spawn(async move { got(&tier, &stored).await })
                    })
                    .collect();
                for reader in readers {
                    let found = reader.await.unwrap();
                    assert!(found.meta.body.as_deref() == stored.content.whole());
                }
            }
            assert_eq!(cuts.lock().unwrap().made, 4);
        });
    }
}

// Over TLS, with a name and a password: a cut falls within a record, a handshake or a login, too.
#[test]
fn slow_connections_that_are_cut_in_mid_value_hurt_no_viewer() {
    if !tool::have(&[REDIS, MEMCACHED]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let access = Access::guarded(folder.path());
    let redis = access.redis(folder.path(), "");
    let memcached = access.memcached(free_port());
    for (kind, to) in [("redis", redis.door), ("memcached", memcached.door)] {
        let (port, cuts) = relay(to);
        under_load(&access.tier(kind, &[port]), |oracle| {
            {
                let mut cuts = cuts.lock().unwrap();
                (cuts.left, cuts.within) = (Some(1), Some(200_000));
            }
            eventually("connections were cut", || cuts.lock().unwrap().made > 20);
            {
                let mut cuts = cuts.lock().unwrap();
                (cuts.left, cuts.within) = (None, None);
            }
            oracle.is_used(10.0);
        });
    }
}

#[test]
fn a_cluster_of_which_no_node_tells_is_told_of_once() {
    let seed = TcpListener::bind("127.0.0.1:0").unwrap();
    let (at, looks) = (seed.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&looks);
    std::thread::spawn(move || {
        for _ in seed.incoming() {
            counted.fetch_add(1, SeqCst);
        }
    });
    let origin = Origin::start(|_| answer(200, "Cache-Control: max-age=600", b"x"));
    let tier = format!("kind = \"redis\"\nmode = \"cluster\"\nurls = [\"redis://{at}\"]");
    let hasty =
        Settings { timeouts: Some("first = \"50ms\", total = \"1s\""), ..Settings::default() };
    let (one, _two) = two_edges_on(origin.address, &tier, &hasty);
    let mut path = 0;
    eventually("it looks again and again", || {
        path += 1;
        assert_eq!(one.get(&format!("/{path}")).status, 200);
        looks.load(SeqCst) > 12
    });
    let log = one.log();
    assert_eq!(log.matches("the tier's nodes are not known").count(), 1, "{log}");
}

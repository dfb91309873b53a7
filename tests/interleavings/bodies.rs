//! Contents that grow while they are read.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use foreshore::body::BodyError;
use shuttle::rand::{Rng, thread_rng};
use shuttle::{future, thread};

use crate::content::{Content, Reader, Room};

const LEN: usize = 60;

fn octets() -> Vec<u8> {
    (0..LEN as u8).collect()
}

// Reads up to `most` octets; what came, and how it ended.
fn read(mut reader: Reader, most: usize) -> (Vec<u8>, Option<Result<(), BodyError>>) {
    let mut all = Vec::new();
    while all.len() < most {
        match future::block_on(poll_fn(|cx| reader.poll_piece(cx))) {
            None => return (all, Some(Ok(()))),
            Some(Err(why)) => return (all, Some(Err(why))),
            Some(Ok(piece)) => all.extend_from_slice(&piece),
        }
    }
    (all, None)
}

/// One writes, and finishes or breaks off; one reads from the start, one comes later, one leaves
/// early. A reader that came to the end has every octet; one that did not is told.
pub fn readers_follow_a_writer() {
    let is_known = thread_rng().gen_bool(0.5);
    let (content, mut writer) = Content::grow(is_known.then_some(LEN as u64), None);
    let breaks_at = thread_rng().gen_range(0..LEN * 2);
    let early = content.read(None).unwrap();
    let first = thread::spawn(move || read(early, usize::MAX));
    let readers: Vec<_> = [usize::MAX, 20]
        .map(|most| {
            let content = Arc::clone(&content);
            thread::spawn(move || read(content.read(None).unwrap(), most))
        })
        .into_iter()
        .chain([first])
        .collect();
    let is_broken = thread::spawn(move || {
        let all = octets();
        let mut at = 0;
        while at < LEN {
            if at >= breaks_at {
                writer.break_off(BodyError::Stalled);
                return true;
            }
            let len = thread_rng().gen_range(1..=25).min(LEN - at);
            writer.push(&all[at..at + len]);
            at += len;
        }
        assert!(writer.finish());
        false
    });
    let is_broken = is_broken.join().unwrap();
    for reader in readers {
        let (seen, end) = reader.join().unwrap();
        assert_eq!(seen, octets()[..seen.len()]);
        match end {
            Some(Ok(())) => assert!(seen.len() == LEN && !is_broken),
            Some(Err(why)) => assert!(is_broken && why == BodyError::Stalled),
            None => assert!(seen.len() >= 20),
        }
    }
    assert_eq!((content.is_broken(), content.is_complete()), (is_broken, !is_broken));
    if !is_broken {
        assert_eq!(read(content.read(None).unwrap(), usize::MAX), (octets(), Some(Ok(()))));
    }
}

/// A content that is not kept: its writer waits for the slowest, and goes on when that one leaves
/// or is given up. No reader gets other octets than were written, and the writer never waits
/// without a reader.
pub fn readers_of_a_window() {
    let (content, mut writer) = Content::grow(None, None);
    let readers: Vec<_> = [usize::MAX, 20, usize::MAX]
        .map(|most| {
            let reader = content.read(None).unwrap();
            thread::spawn(move || read(reader, most))
        })
        .into_iter()
        .collect();
    let loses = thread_rng().gen_bool(0.3);
    let writing = thread::spawn(move || {
        let all = octets();
        let mut at = 0;
        writer.open_window(16);
        while at < LEN {
            let len = thread_rng().gen_range(1..=25).min(LEN - at);
            writer.push(&all[at..at + len]);
            at += len;
            if loses && at > 30 {
                writer.lose_slowest();
            }
            if future::block_on(poll_fn(|cx| writer.poll_room(cx))) == Room::Nobody {
                return false;
            }
        }
        writer.finish()
    });
    let is_whole = writing.join().unwrap();
    for reader in readers {
        let (seen, end) = reader.join().unwrap();
        assert_eq!(seen, octets()[..seen.len()]);
        match end {
            Some(Ok(())) => assert!(is_whole && seen.len() == LEN),
            Some(Err(why)) => assert!(
                matches!(why, BodyError::Overrun | BodyError::Abandoned) && (loses || !is_whole),
                "{why:?}"
            ),
            None => {}
        }
    }
    // A reader that comes now comes too late, or finds everything.
    let late = future::block_on(poll_fn(|_| Poll::Ready(content.read(None))));
    assert!(late.is_none_or(|reader| read(reader, usize::MAX).0.len() <= LEN));
}

//! What must hold for any octets: the bodies of the fuzz targets over their corpus, and over shaken
//! copies of it.
//!
//! From fixed seeds, so that a failure comes again. `tests/fuzz/README.md` says how to let a fuzzer
//! look for more.

use std::fs;
use std::path::Path;

use super::support::Dice;

#[path = "../fuzz/bodies.rs"]
mod bodies;

use bodies::Compared;

/// Octets that parsers trip over.
const ODD: &[u8] = b"\r\n\t :;,\0\x0b\x7f\x80\xff0129aAfFxX/%?#\"=+-_[]@";

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{folder:?}: {e}"))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 5, "{folder:?} is all but empty");
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn shaken(dice: &mut Dice, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut roll = |sides: usize| dice.roll(sides as u64) as usize;
    let mut bytes = corpus[roll(corpus.len())].clone();
    for _ in 0..roll(4) {
        if bytes.is_empty() {
            break;
        }
        let at = roll(bytes.len());
        match roll(5) {
            0 => drop(bytes.remove(at)),
            1 => bytes.insert(at, ODD[roll(ODD.len())]),
            2 => bytes[at] = ODD[roll(ODD.len())],
            3 => {
                let to = (at + 1 + roll(12)).min(bytes.len());
                let piece = bytes[at..to].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                // A line twice: two lengths, two hosts.
                let lines: Vec<&[u8]> = bytes.split_inclusive(|b| *b == b'\n').collect();
                let line = lines[roll(lines.len())].to_vec();
                let place = lines[0].len();
                bytes.splice(place..place, line);
            }
        }
    }
    bytes
}

// Runs a body over the corpus and over so many shaken copies; gives what it said each time.
fn run<T>(target: &str, rounds: usize, body: impl Fn(&[u8]) -> T) -> Vec<T> {
    let corpus = corpus(target);
    let mut dice = Dice::new(1, target.len() as u64);
    let whole: Vec<T> = corpus.iter().map(|file| body(file)).collect();
    whole.into_iter().chain((0..rounds).map(|_| body(&shaken(&mut dice, &corpus)))).collect()
}

// A comparison that hardly ever compares proves nothing.
fn assert_compared(said: &[Compared]) {
    let count = |what| said.iter().filter(|one| **one == what).count();
    let (alone, equal) = (count(Compared::Alone), count(Compared::Equal));
    assert!(
        equal * 6 > said.len() && equal > alone * 8,
        "{} rounds: {equal} equal, {alone} accepted by us alone",
        said.len()
    );
}

#[test]
fn what_we_accept_as_requests_hyper_reads_identically() {
    assert_compared(&run("request_heads", 10_000, bodies::request_heads));
}

#[test]
fn what_we_accept_as_answers_hyper_reads_identically() {
    assert_compared(&run("response_head", 10_000, bodies::response_head));
}

#[test]
fn chunks_are_read_alike_however_they_come() {
    run("chunks", 20_000, bodies::chunks);
}

#[test]
fn header_blocks_keep_their_bounds() {
    run("header_blocks", 20_000, bodies::header_blocks);
}

#[cfg(feature = "http3")]
#[test]
fn request_streams_are_read_alike_however_they_come() {
    run("h3_streams", 20_000, bodies::h3_streams);
}

#[test]
fn values_of_fields_are_read_or_refused() {
    run("fields", 20_000, bodies::fields);
}

#[test]
fn whatever_awss_tools_may_send_is_read_or_refused() {
    run("aws", 20_000, bodies::aws);
}

#[test]
fn forms_keep_what_is_not_encrypted() {
    run("forms", 3_000, bodies::forms);
}

#[test]
fn whatever_a_template_says_is_written_as_toml() {
    run("templates", 5_000, bodies::templates);
}

#[test]
fn whatever_is_told_of_changed_objects_is_read_or_refused() {
    run("events", 20_000, bodies::events);
}

#[test]
fn whatever_lies_on_the_disk_is_read_or_refused() {
    run("records", 20_000, bodies::records);
}

#[test]
fn whatever_is_uploaded_as_code_is_read_or_refused() {
    run("sources", 20_000, bodies::sources);
}

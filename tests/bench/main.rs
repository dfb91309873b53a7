//! What single steps of a hit cost: `cargo bench`. With HITS=n in the environment it runs the hit
//! step n times and prints nothing, for callgrind (`tests/bench/instructions`).

#[path = "stage.rs"]
mod stage;

use divan::{Bencher, black_box};
use foreshore::crypto::envelope::{Recipient, Suite, WrappingKey, encrypt};
use foreshore::crypto::key::PublicKey;
use foreshore::listen::h2::hpack::decode::{Decoder, FieldList};
use foreshore::listen::h2::hpack::encode;
use stage::{OBJECTS, Stage, stored};

fn main() {
    match std::env::var("HITS").ok().and_then(|hits| hits.parse::<usize>().ok()) {
        Some(hits) => {
            let stage = Stage::new(OBJECTS, "2GiB");
            let (mut key, mut out) = (Vec::new(), Vec::new());
            for at in 0..hits {
                black_box(stage.hit(at, false, &mut key, &mut out));
            }
        }
        None => divan::main(),
    }
}

#[divan::bench(args = [false, true])]
fn hit_step_plain_or_browser(bencher: Bencher<'_, '_>, is_browser: bool) {
    let stage = Stage::new(OBJECTS, "2GiB");
    let (mut key, mut out, mut at) = (Vec::new(), Vec::new(), 0);
    bencher.bench_local(|| {
        at += 7919;
        stage.hit(at, is_browser, &mut key, &mut out)
    });
}

#[divan::bench(threads = [1, 2])]
fn find_among_10000(bencher: Bencher<'_, '_>) {
    let stage = Stage::new(OBJECTS, "2GiB");
    let keys: Vec<Vec<u8>> = (0..OBJECTS).map(|at| format!("E\0/s/{at}").into_bytes()).collect();
    let at = std::sync::atomic::AtomicUsize::new(0);
    bencher.bench(|| {
        stage
            .edge
            .store
            .find(&keys[at.fetch_add(7919, std::sync::atomic::Ordering::Relaxed) % OBJECTS])
            .len()
    });
}

#[divan::bench]
fn head_of_a_stored_response(bencher: Bencher<'_, '_>) {
    let stored = stored(b"E\0/s/1", 1024);
    let mut out = Vec::with_capacity(1024);
    bencher.bench_local(|| {
        out.clear();
        out.extend_from_slice(stored.head.lines());
        out.len()
    });
}

#[divan::bench]
fn hpack_block_of_a_request(bencher: Bencher<'_, '_>) {
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "h.test"),
        (":path", "/s/1"),
        ("user-agent", "bench/1.0"),
    ] {
        encode::field(&mut block, name.as_bytes(), value.as_bytes());
    }
    let (mut decoder, mut list) = (Decoder::new(4096), FieldList::default());
    bencher.bench_local(|| {
        list.clear(20_480);
        decoder.decode(black_box(&block), &mut list).unwrap();
        list.iter().count()
    });
}

// One field of 19 octets of a form: a data key, wrapped by RSA-2048, and for CloudFront's suite a key
// pair and a signature.
#[divan::bench(args = [Suite::Committed, Suite::CloudFront])]
fn field_of_a_form(bencher: Bencher<'_, '_>, suite: Suite) {
    let pem = include_bytes!("../vectors/rsa2048-public.pem");
    let key = PublicKey::from_pem("K1", pem).expect("a key of the vectors");
    let key = key.rsa_der().map(WrappingKey::from_der).expect("RSA").expect("2048 bits");
    let to = Recipient { provider: "DEMO", key_name: "DEMOKEY", key: &key };
    bencher.bench_local(|| encrypt(suite, to, b"4111 1111 1111 1111").map(|message| message.len()));
}

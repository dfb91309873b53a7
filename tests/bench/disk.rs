//! The disk tier by itself, with a million responses: `cargo bench --bench disk`.
//!
//! What a start costs, what finding them by path and by tag costs, and what it costs to find those
//! that are invalidated. Files lie in a temporary folder and are warm: what is timed is our work,
//! not the disk's.

use std::sync::Arc;
use std::time::Instant;

use foreshore::cache::invalidations::{Invalidations, Matcher, Severity, Validity, tag_hash};
use foreshore::distribution::site::DiskSettings;
use foreshore::message::key::InvalidationNumber;
use foreshore::message::stored::{Life, Stored};
use foreshore::semantics::fields::FieldSection;
use foreshore::semantics::time::Timestamp;
use foreshore::store::Disk;
use foreshore::store::disk::files::Folder;
use foreshore::store::disk::listing::Which;
use foreshore::store::disk::load::Doubt;
use foreshore::store::disk::threads::IsDead;
use http::HeaderValue;

const RESPONSES: u64 = 1_000_000;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let settings = DiskSettings {
        path: folder.path().into(),
        size: 8 << 30,
        queue: 64 << 20,
        scrub: 0,
        objects: 10_000_000,
        key: None,
    };
    let open = || {
        Disk::open(
            Box::new(Folder::open(folder.path()).unwrap()),
            settings.clone(),
            InvalidationNumber(1),
            Doubt::BeginEmpty,
        )
        .unwrap()
    };
    let disk = open();
    disk.load();
    let took = time(|| {
        for at in 0..RESPONSES {
            disk.offer(&Arc::new(stored(at)));
            if at % 10_000 == 0 {
                disk.work_off();
            }
        }
        disk.work_off();
        disk.finish().unwrap();
    });
    let octets = disk.stats().bytes / RESPONSES;
    println!(
        "written: {:.1} s, {:.1} us and {octets} octets each",
        took,
        took * 1e6 / RESPONSES as f64
    );
    drop(disk);
    let disk = open();
    let took = time(|| disk.load());
    let stats = disk.stats();
    println!(
        "a start: complete after {took:.2} s, {} octets of memory each",
        stats.index_bytes / stats.objects
    );
    for (what, which, wanted) in [
        ("by path", Which { prefix: Some("/shop/7/".into()), ..Which::default() }, 1000),
        ("by tag", Which { tag: Some("product-77".into()), ..Which::default() }, 100),
    ] {
        let mut found = 0;
        let took = time(|| found = disk.survey(&which).unwrap().count);
        assert_eq!(found, wanted);
        println!("{found} found {what}: {took:.2} s");
    }
    let invalidations = Invalidations::new(1_000_000);
    let matchers: Vec<Matcher> =
        (0..100_000).map(|at| Matcher::Tag(format!("product-{}", at * 10 % 10_000))).collect();
    invalidations.apply("E", &matchers, Severity::Hard, InvalidationNumber(2));
    let judge = Arc::new(invalidations);
    let is_dead: IsDead = Box::new(move |brief| {
        judge.validity_of(brief.key, &brief.tags, brief.asked_at) == Validity::Hard
    });
    let took = time(|| disk.sweep_dead(&is_dead));
    println!("{} of them found dead and taken out: {took:.2} s", RESPONSES - disk.stats().objects);
}

fn time(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64()
}

fn stored(at: u64) -> Stored {
    let mut fields = FieldSection::new();
    fields.insert("content-type", "text/html; charset=utf-8");
    fields.insert("cache-control", "max-age=3600");
    fields.insert("etag", HeaderValue::from_str(&format!("\"{at:x}\"")).unwrap());
    let life = Life { fresh: 3_600_000, ..Stored::example().life };
    let mut stored = Stored::example()
        .with_key(format!("E\0/shop/{}/page-{at}.html\0", at / 1000).as_bytes())
        .with_fields(&fields)
        .with_birth(Timestamp(at))
        .with_life(life)
        .with_asked_at(InvalidationNumber(1))
        .with_content(&[b'x'; 200]);
    stored.tags = vec![tag_hash(format!("product-{}", at % 10_000).as_bytes())].into();
    stored
}

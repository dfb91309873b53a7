//! The lines of all three logs, held against composers that use `write!`: octet for octet the same,
//! whatever a viewer sends. No line of a usual request allocates.

mod former;

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use foreshore::distribution::logs::{Cookies, RealtimeField, StandardField, StandardLog};
use foreshore::message::connection::{ConnectionId, Scheme, Version};
use foreshore::message::encryption::{Encryption, EncryptionStatus};
use foreshore::message::failure::{Failure, FailureKind};
use foreshore::message::refusal::Rule;
use foreshore::message::request::RequestId;
use foreshore::message::timeline::Timeline;
use foreshore::message::verdict::{
    MissReason, NotKept, Outcome, PassReason, Reason, RevalidateReason, Verdict,
};
use foreshore::record::access_log::write_json;
use foreshore::record::cloudfront_fields::{Answered, Asked, Pop, Viewer};
use foreshore::record::stamp::Stamp;
use foreshore::record::{Cut, GONE, Record, realtime_log, standard_log, without_signatures};
use foreshore::semantics::time::Timestamp;

const REASONS: [Reason; 9] = [
    Reason::Fresh,
    Reason::StaleWhileRevalidate,
    Reason::Revalidated(RevalidateReason::Expired),
    Reason::Miss(MissReason::Absent),
    Reason::Pass(PassReason::Method),
    Reason::NotKept(NotKept::Private),
    Reason::Refused(Rule::Rate),
    Reason::Refused(Rule::Country),
    Reason::Failed,
];

/// What values are made of.
const PIECES: &[&[u8]] = &[
    b"Mozilla/5.0 (X11; Linux x86_64)",
    b"https://www.example.com/a?b=c",
    b"text",
    b" ",
    b"\"",
    b"\\",
    b"\n",
    b"\t",
    b"\0",
    b"%",
    b"%41",
    b"&",
    b";",
    b"S",
    b"~",
    b"'",
    b"\x7f",
    b"\xc2\x85",
    b"\xc2\xa0",
    b"\xc3\xa9",
    b"\xe2\x80\xa7",
    b"\xe2\x80\xa8",
    b"\xe2\x80\xa9",
    b"\xe2\x82\xac",
    b"\xf0\x9f\x98\x80",
    b"\xc2",
    b"\xe2\x80",
    b"\xff",
    b"Signature=abc",
    b"X-Amz-Signature=abc&",
    b"X-Amz-Security-Token=abc;",
    b"Security-Token=abc",
];

/// SplitMix64, so that every run makes the same records.
struct Chance(u64);

impl Chance {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, most: u64) -> u64 {
        self.draw() % most
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    // Of any length; two of them can be added.
    fn number(&mut self) -> u64 {
        let shift = 1 + self.below(63);
        self.draw() >> shift
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(3) > 0).then(|| make(self))
    }

    fn octets(&mut self) -> Vec<u8> {
        let mut octets = Vec::new();
        for _ in 0..self.below(8) {
            if self.below(4) == 0 {
                octets.push(self.draw() as u8);
            } else {
                octets.extend_from_slice(self.pick(PIECES));
            }
        }
        // Now and then, longer than a line tells.
        let times = if self.below(300) == 0 { 200 } else { 1 };
        octets.repeat(times)
    }

    fn text(&mut self) -> String {
        String::from_utf8_lossy(&self.octets()).into_owned()
    }

    fn peer(&mut self) -> SocketAddr {
        let v4 = Ipv4Addr::from(self.draw() as u32);
        let ip = match self.below(3) {
            0 => IpAddr::from(v4),
            1 => IpAddr::from(v4.to_ipv6_mapped()),
            _ => {
                let groups: [u16; 8] =
                    std::array::from_fn(|_| if self.coin() { 0 } else { self.draw() as u16 });
                IpAddr::from(groups)
            }
        };
        SocketAddr::new(ip, self.draw() as u16)
    }
}

/// What a record and its companions borrow.
struct Made {
    host: String,
    path: String,
    query: Option<String>,
    line: Option<Vec<u8>>,
    distribution: Option<String>,
    behavior: Option<String>,
    referer: Option<Vec<u8>>,
    agent: Option<Vec<u8>>,
    failure: Option<Failure>,
    cookie: Option<Vec<u8>>,
    forwarded_for: Option<Vec<u8>>,
    content_type: Option<Vec<u8>>,
}

impl Made {
    fn by(chance: &mut Chance) -> Self {
        Self {
            host: chance.text(),
            path: chance.text(),
            query: chance.maybe(Chance::text),
            line: chance.maybe(Chance::octets),
            distribution: chance.maybe(Chance::text),
            behavior: chance.maybe(Chance::text),
            referer: chance.maybe(Chance::octets),
            agent: chance.maybe(Chance::octets),
            failure: chance
                .maybe(|chance| Failure::new(chance.pick(&FailureKind::ALL), chance.text())),
            cookie: chance.maybe(Chance::octets),
            forwarded_for: chance.maybe(Chance::octets),
            content_type: chance.maybe(Chance::octets),
        }
    }

    fn record(&self, chance: &mut Chance) -> Record<'_> {
        Record {
            // As far as years have four digits.
            timeline: Timeline {
                received: Timestamp(chance.below(253_402_300_800_000)),
                upstream_millis: chance.maybe(|chance| chance.number() >> 12),
                answered: chance.maybe(Chance::number),
                finished: chance.number(),
            },
            peer: chance.peer(),
            connection: ConnectionId::of(chance.draw()),
            client: None,
            method: chance.pick(&["GET", "HEAD", "POST", "M-SEARCH", "!#$%&'*+-.^_`|~", "-"]),
            scheme: chance.pick(&[Scheme::Http, Scheme::Https]),
            version: chance.pick(&[Version::Http10, Version::Http11, Version::Http2]),
            host: &self.host,
            path: &self.path,
            query: self.query.as_deref(),
            request_line: self.line.as_deref(),
            status: chance
                .pick(&[200, 206, 301, 304, 403, 404, 429, GONE, 502, 0, 99, 1000, 65535]),
            bytes: chance.number(),
            received: if chance.coin() { 0 } else { chance.number() },
            verdict: Verdict {
                outcome: chance.pick(&Outcome::ALL),
                reason: chance.pick(&REASONS),
                collapsed: chance.coin(),
                stored: chance.coin(),
                failed: None,
            },
            distribution: self.distribution.as_deref(),
            behavior: self.behavior.as_deref(),
            ordinal: None,
            referer: self.referer.as_deref(),
            user_agent: self.agent.as_deref(),
            failure: self.failure.as_ref(),
            cut: chance.maybe(|chance| chance.pick(&[Cut::ByViewer, Cut::ByOrigin])),
            ran: None,
            trace: None,
        }
    }

    fn asked(&self, chance: &mut Chance) -> Asked<'_> {
        Asked {
            id: RequestId(chance.draw()),
            octets: chance.number(),
            cookie: self.cookie.as_deref().map(Cow::Borrowed),
            forwarded_for: self.forwarded_for.as_deref().map(Cow::Borrowed),
            tls: chance.maybe(|_| ("TLSv1.3", "TLS_AES_128_GCM_SHA256")),
            place: None,
            viewer: chance.maybe(|chance| Box::new(viewer(chance))),
        }
    }

    fn answered(&self, chance: &mut Chance) -> Answered<'_> {
        Answered {
            octets: chance.number(),
            content_type: self.content_type.as_deref(),
            content_len: chance.maybe(Chance::number),
            range: chance.maybe(|chance| (chance.number(), chance.number())),
            encryption: chance.maybe(|chance| Encryption {
                status: chance.pick(&EncryptionStatus::ALL),
                fields: chance.below(11) as u16,
            }),
        }
    }
}

fn viewer(chance: &mut Chance) -> Viewer {
    Viewer {
        accept: chance.maybe(Chance::octets),
        accept_encoding: chance.maybe(Chance::octets),
        country: chance.maybe(Chance::text),
        asn: chance.maybe(Chance::text),
        fields: chance.octets(),
        names: chance.octets(),
        count: chance.number(),
    }
}

fn standard(cookies: Cookies) -> StandardLog {
    StandardLog { folder: Default::default(), cookies, fields: StandardField::usual() }
}

fn all_fields() -> Vec<RealtimeField> {
    RealtimeField::ALL.iter().map(|(field, _)| *field).collect()
}

fn assert_same(written: &[u8], former: &[u8]) {
    assert!(written == former, "\n{}\n{}", written.escape_ascii(), former.escape_ascii());
}

#[test]
fn each_line_is_what_write_makes_of_it() {
    let (mut chance, all) = (Chance(1), all_fields());
    for _ in 0..5_000 {
        let made = Made::by(&mut chance);
        let record = made.record(&mut chance);
        let (asked, answered) = (made.asked(&mut chance), made.answered(&mut chance));
        let place = Pop { pop: "FRA56-C1", is_cloudfront: chance.coin() };
        let (stamp, cookies) = (
            Stamp::of(record.timeline.received),
            chance.pick(&[Cookies::Included, Cookies::Omitted]),
        );
        let (mut written, mut former) = (Vec::new(), Vec::new());
        write_json(&mut written, &record, &stamp);
        former::json(&mut former, &record);
        assert_same(&written, &former);
        written.clear();
        former.clear();
        let log = standard(cookies);
        standard_log::write_line(&mut written, &log, &stamp, &record, &asked, &answered, place);
        former::standard(&mut former, cookies, &record, &asked, &answered, place);
        assert_same(&written, &former);
        written.clear();
        former.clear();
        realtime_log::write_line(&mut written, &all, &record, &asked, &answered, place);
        former::realtime(&mut former, &all, &record, &asked, &answered, place);
        assert_same(&written, &former);
    }
}

#[test]
fn signatures_are_found_where_a_search_for_each_name_finds_them() {
    let mut chance = Chance(2);
    for _ in 0..20_000 {
        let text = chance.octets();
        assert_same(&without_signatures(&text), &former::without_signatures(&text));
    }
}

#[test]
fn an_id_is_written_as_before() {
    for id in 0..1_000u64 {
        let id = RequestId(id.wrapping_mul(0x1234_5678_9abc_def1));
        let (mut written, mut former) = (Vec::new(), Vec::new());
        id.write(&mut written);
        former::id(&mut former, id);
        assert_same(&written, &former);
    }
}

#[test]
fn a_usual_line_allocates_nothing() {
    let mut chance = Chance(3);
    let made = Made {
        host: "www.example.com".into(),
        path: "/a \"page\"".into(),
        query: Some("Size=1&Sort=up".into()),
        line: None,
        distribution: Some("EDEMO".into()),
        behavior: Some("/images/*".into()),
        referer: Some(b"https://www.example.com/Start".to_vec()),
        agent: Some(b"Mozilla/5.0 (\xe2\x82\xac\x01\\\xff)".to_vec()),
        failure: None,
        cookie: Some(b"a=b; Session=c".to_vec()),
        forwarded_for: Some(b"192.0.2.1".to_vec()),
        content_type: Some(b"text/html".to_vec()),
    };
    let mut record = made.record(&mut chance);
    record.peer = "[2001:db8::1]:443".parse().unwrap();
    let mut asked = made.asked(&mut chance);
    asked.viewer = Some(Box::new(viewer(&mut chance)));
    let (answered, all) = (made.answered(&mut chance), all_fields());
    let place = Pop { pop: "FRA56-C1", is_cloudfront: true };
    let (mut stamp, log) = (Stamp::of(Timestamp(0)), standard(Cookies::Included));
    let mut out = Vec::with_capacity(1 << 20);
    let before = super::hit_cost::allocations();
    stamp.turn_to(record.timeline.received);
    write_json(&mut out, &record, &stamp);
    standard_log::write_line(&mut out, &log, &stamp, &record, &asked, &answered, place);
    realtime_log::write_line(&mut out, &all, &record, &asked, &answered, place);
    assert_eq!(super::hit_cost::allocations() - before, 0);
    assert_eq!(out.iter().filter(|octet| **octet == b'\n').count(), 3);
}

//! Parts and wholes: whatever an origin answers to whatever a viewer asks, the viewer has what it
//! asked for, or an error.

use super::support::edge::{Edge, plain};
use super::support::origin::{Asked, Origin, Say, answer};
use super::support::viewer::Seen;

const LEN: usize = 200_000;
const SLICE: usize = 65_536;

fn octets() -> Vec<u8> {
    (0..LEN).map(|at| (at * 31 % 251) as u8).collect()
}

fn range_of(asked: &Asked) -> Option<(usize, usize)> {
    let range = asked.field("range")?;
    let (first, last) =
        range.strip_prefix("bytes=").filter(|range| !range.contains(','))?.split_once('-')?;
    match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) => Some((first, last.min(LEN - 1))),
        (Ok(first), Err(_)) => Some((first, LEN - 1)),
        (Err(_), Ok(count)) => Some((LEN.saturating_sub(count), LEN - 1)),
        (Err(_), Err(_)) => None,
    }
}

// One way in which an origin answers; the target is `/way/n`.
fn say(asked: &Asked) -> Vec<Say> {
    let body = octets();
    let way = asked.target.split('/').nth(1).unwrap_or("");
    let fields = match way {
        "private" => "Cache-Control: private, max-age=60\nETag: \"e\"",
        "no-store" => "Cache-Control: no-store\nETag: \"e\"",
        "star" => "Cache-Control: max-age=60\nVary: *\nETag: \"e\"",
        "cookie" => "Set-Cookie: a=b\nETag: \"e\"",
        "weak" => "Cache-Control: max-age=60\nETag: W/\"e\"",
        "none" => "Cache-Control: max-age=60",
        _ => "Cache-Control: max-age=60\nETag: \"e\"",
    };
    let whole = || answer(200, fields, &body);
    let part = |first: usize, last: usize, told: String| {
        answer(206, &format!("{fields}\nContent-Range: {told}"), &body[first..=last])
    };
    let Some((first, last)) = range_of(asked) else { return whole() };
    if first >= LEN {
        return answer(416, &format!("{fields}\nContent-Range: bytes */{LEN}"), b"");
    }
    let told = |first: usize, last: usize| format!("bytes {first}-{last}/{LEN}");
    match way {
        "whole" => whole(),
        "short" => part(first, last.min(first + 999), told(first, last.min(first + 999))),
        "long" => part(
            first.saturating_sub(10),
            (last + 10).min(LEN - 1),
            told(first.saturating_sub(10), (last + 10).min(LEN - 1)),
        ),
        "elsewhere" => part(0, last - first, told(0, last - first)),
        "unsaid" => answer(206, fields, &body[first..=last]),
        "no-length" => part(first, last, format!("bytes {first}-{last}/*")),
        "refuses" => answer(416, &format!("{fields}\nContent-Range: bytes */0"), b""),
        "fails-at-2" if first / SLICE == 2 => answer(503, "Cache-Control: no-store", b""),
        "private-at-2" if first / SLICE == 2 => answer(
            206,
            &format!("Cache-Control: private\nETag: \"e\"\nContent-Range: {}", told(first, last)),
            &body[first..=last],
        ),
        _ => part(first, last, told(first, last)),
    }
}

// A whole response must be right; one that breaks off, or is an error of ours, is no lie.
fn is_honest(seen: &Seen, ranges: &[(usize, usize)]) -> bool {
    let body = octets();
    let told = seen.field("content-range");
    match seen.status {
        _ if !seen.whole => true,
        200 => seen.body == body && told.is_none(),
        206 if ranges.len() == 1 => {
            let (first, last) = ranges[0];
            let is_right = seen.body == body[first..=last];
            is_right && told.is_some_and(|told| told.starts_with(&format!("bytes {first}-{last}/")))
        }
        206 => {
            seen.field("content-type").is_some_and(|kind| kind.starts_with("multipart/byteranges"))
                && ranges.len() > 1
        }
        416 => ranges.is_empty() && seen.body.is_empty(),
        status => status >= 500,
    }
}

const WAYS: [&str; 17] = [
    "exact",
    "private",
    "no-store",
    "star",
    "cookie",
    "weak",
    "none",
    "whole",
    "short",
    "long",
    "elsewhere",
    "unsaid",
    "no-length",
    "refuses",
    "fails-at-2",
    "private-at-2",
    "exact2",
];

#[test]
fn every_way_to_answer_a_slice_gives_every_viewer_what_it_asked_for() {
    let origin = Origin::start(say);
    let edge = Edge::start(&(plain(origin.address, "") + "slice = \"64KiB\"\n"));
    let asks: [(&str, &[(usize, usize)]); 7] = [
        ("", &[(0, LEN - 1)]),
        ("Range: bytes=100-199", &[(100, 199)]),
        ("Range: bytes=70000-70099", &[(70_000, 70_099)]),
        ("Range: bytes=199000-", &[(199_000, LEN - 1)]),
        ("Range: bytes=-50", &[(LEN - 50, LEN - 1)]),
        ("Range: bytes=0-0, 150-160", &[(0, 0), (150, 160)]),
        ("Range: bytes=300000-", &[]),
    ];
    for way in WAYS {
        for (at, (field, ranges)) in asks.iter().enumerate() {
            let path = format!("/{way}/{at}");
            for turn in 0..3 {
                let fields: &[&str] = if field.is_empty() { &[] } else { &[field] };
                let seen = edge.get_with(&path, fields);
                assert!(
                    is_honest(&seen, ranges),
                    "{path} {turn} {field:?}: whole {} {} octets\n{}",
                    seen.whole,
                    seen.body.len(),
                    seen.head
                );
            }
            // A later slice may turn out to be none and break an answer off; the next one is right.
            // An origin that fails is not ours to mend.
            assert!(is_honest(&edge.get(&path), &[(0, LEN - 1)]), "{path}");
            let seen = edge.get(&path);
            let is_whole = seen.status == 200 && seen.whole && seen.body == octets();
            assert!(
                is_whole || way == "fails-at-2",
                "{path} does not heal: {}\n{} octets",
                seen.head,
                seen.body.len()
            );
        }
    }
}

#[test]
fn an_empty_object_behind_slices_is_empty_and_not_an_error() {
    let origin = Origin::start(|asked| match asked.field("range") {
        Some(_) => answer(416, "Content-Range: bytes */0\nETag: \"e\"", b""),
        None => answer(200, "Cache-Control: max-age=60\nETag: \"e\"", b""),
    });
    let edge = Edge::start(&(plain(origin.address, "") + "slice = \"64KiB\"\n"));
    for field in [&[][..], &["Range: bytes=0-"], &["Range: bytes=5-9"], &[]] {
        let seen = edge.get_with("/empty", field);
        let is_right = seen.whole
            && seen.body.is_empty()
            && (seen.status == 200 || (seen.status == 416 && !field.is_empty()));
        assert!(is_right, "{field:?}: {}", seen.head);
    }
}

#[test]
fn the_head_of_an_object_in_slices_is_known() {
    let origin = Origin::start(say);
    let edge = Edge::start(&(plain(origin.address, "") + "slice = \"64KiB\"\n"));
    assert!(edge.get("/exact/head").whole);
    let asked = origin.count();
    let mut viewer = edge.viewer();
    viewer.send(b"HEAD /exact/head HTTP/1.1\r\nHost: h\r\n\r\n");
    let seen = viewer.read("HEAD").unwrap();
    assert_eq!(
        (seen.status, seen.field("content-length").as_deref(), seen.cache()),
        (200, Some("200000"), "Hit".into())
    );
    assert_eq!(origin.count(), asked, "a HEAD of what is stored went to the origin");
}

#[test]
fn what_is_not_kept_is_asked_for_as_the_viewer_asks() {
    let origin = Origin::start(say);
    let edge = Edge::start(&plain(
        origin.address,
        "[store]\nmemory = \"64MiB\"\nmax_object = \"100KiB\"\n",
    ));
    for way in ["private", "no-store", "star", "exact"] {
        let path = format!("/{way}/a");
        assert!(edge.get(&path).whole);
        for (field, status, len) in [
            ("Range: bytes=150000-", 206, 50_000),
            ("Range: bytes=150000-\r\nIf-Range: \"e\"", 206, 50_000),
            ("Range: bytes=-7", 206, 7),
            ("Range: bytes=300000-", 416, 0),
        ] {
            let seen = edge.get_with(&path, &[field]);
            assert_eq!(
                (seen.status, seen.body.len(), seen.whole),
                (status, len, true),
                "{way} {field}: {}",
                seen.head
            );
            let asked = origin.seen().pop().unwrap();
            assert_eq!(
                asked.field("range"),
                field.lines().next().unwrap().strip_prefix("Range: ").map(String::from)
            );
        }
        let _ = edge.get_with(
            &path,
            &[
                "If-None-Match: \"e\"",
                "If-Match: \"e\"",
                "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT",
            ],
        );
        let asked = origin.seen().pop().unwrap();
        for name in ["if-none-match", "if-match", "if-modified-since"] {
            assert!(asked.field(name).is_some(), "{way}: {name} does not reach the origin");
        }
    }
}

#[test]
fn a_part_nobody_asked_for_is_an_error() {
    let origin = Origin::start(|_| {
        answer(206, "Cache-Control: max-age=60\nContent-Range: bytes 0-9/20", b"0123456789")
    });
    for behavior in ["", "slice = \"64KiB\"\n", "cache_policy = \"CachingDisabled\"\n"] {
        let edge = Edge::start(&(plain(origin.address, "") + behavior));
        for _ in 0..2 {
            let seen = edge.get("/a");
            assert_eq!(seen.status, 502, "{behavior}: {}", seen.head);
        }
        let seen = edge.get_with("/b", &["Range: bytes=0-9"]);
        assert_eq!(
            (seen.status, seen.text()),
            (206, "0123456789".into()),
            "{behavior}: {}",
            seen.head
        );
    }
}

#[test]
fn no_digest_is_of_other_octets() {
    let page = "a line of text that compresses well\n".repeat(100);
    let copy = page.clone();
    const DIGESTS: [&str; 5] =
        ["content-md5", "content-digest", "repr-digest", "digest", "x-amz-checksum-sha256"];
    let origin = Origin::start(move |asked| {
        let all = DIGESTS.map(|name| format!("{name}: v")).join("\n");
        let validator = if asked.target == "/dated" {
            "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT"
        } else {
            "ETag: \"e\""
        };
        let fields =
            format!("Cache-Control: max-age=60\nContent-Type: text/plain\n{validator}\n{all}");
        let is_asked =
            ["if-none-match", "if-modified-since"].iter().any(|name| asked.field(name).is_some());
        if is_asked { answer(304, &fields, b"") } else { answer(200, &fields, copy.as_bytes()) }
    });
    let policy = "[cache_policy.c]\nsemantics = \"rfc9111\"\nttl = { min = \"0s\" }\ncompress = [\"gzip\"]\n";
    let edge = Edge::start(&(plain(origin.address, policy) + "cache_policy = \"c\"\n"));
    let has = |seen: &Seen| {
        DIGESTS.into_iter().filter(|name| seen.field(name).is_some()).collect::<Vec<_>>()
    };
    for turn in 0..3 {
        edge.admin("POST", "/v1/invalidations", r#"{"paths":["/*"],"soft":true}"#);
        assert_eq!(
            has(&edge.get("/plain")),
            DIGESTS,
            "{turn}: octets as they came keep their digests"
        );
        for path in ["/plain", "/plain", "/dated", "/dated"] {
            let seen = edge.get_with(path, &["Accept-Encoding: gzip"]);
            assert_eq!(
                (seen.field("content-encoding").as_deref(), has(&seen)),
                (Some("gzip"), vec![]),
                "{turn}: {path} encoded"
            );
        }
        let part = edge.get_with("/plain", &["Range: bytes=0-9"]);
        assert_eq!(
            (part.status, has(&part)),
            (206, vec!["repr-digest", "digest"]),
            "{turn}: a part"
        );
        let parts = edge.get_with("/plain", &["Range: bytes=0-9, 20-29"]);
        assert_eq!(
            (parts.status, has(&parts)),
            (206, vec!["repr-digest", "digest"]),
            "{turn}: parts"
        );
    }
}

#[test]
fn head_speaks_of_what_get_would_send() {
    let page = "a line of text that compresses well\n".repeat(100);
    let copy = page.clone();
    let origin = Origin::start(move |asked| {
        let fields = "Cache-Control: max-age=60\nContent-Type: text/plain\nETag: \"e\"";
        match asked.method.as_str() {
            "HEAD" => vec![Say::Bytes(
                format!(
                    "HTTP/1.1 200 OK\r\n{}\r\nContent-Length: {}\r\n\r\n",
                    fields.replace('\n', "\r\n"),
                    copy.len()
                )
                .into(),
            )],
            _ => answer(200, fields, copy.as_bytes()),
        }
    });
    let policy = "[cache_policy.c]\nttl = { min = \"0s\" }\ncompress = [\"br\", \"gzip\"]\n";
    let edge = Edge::start(&(plain(origin.address, policy) + "cache_policy = \"c\"\n"));
    let head = |path: &str, accepts: &str| {
        let mut viewer = edge.viewer();
        viewer.send(
            format!("HEAD {path} HTTP/1.1\r\nHost: h\r\nAccept-Encoding: {accepts}\r\n\r\n")
                .as_bytes(),
        );
        viewer.read("HEAD").unwrap()
    };
    for (at, accepts) in ["gzip", "br", "identity", "br;q=0, gzip"].into_iter().enumerate() {
        let path = format!("/{at}");
        let cold = head(&path, accepts);
        let get = edge.get_with(&path, &[&format!("Accept-Encoding: {accepts}")]);
        let warm = head(&path, accepts);
        for seen in [&cold, &warm] {
            for name in ["etag", "content-encoding", "vary"] {
                assert_eq!(
                    seen.field(name),
                    get.field(name),
                    "{accepts} {name}\n{}\n{}",
                    seen.head,
                    get.head
                );
            }
            let length = seen.field("content-length");
            assert!(
                length.is_none_or(|len| len == get.body.len().to_string()),
                "{accepts}: {}",
                seen.head
            );
        }
        assert!(
            get.field("vary").is_some_and(|vary| vary.contains("Accept-Encoding")),
            "others get it encoded: {}",
            get.head
        );
    }
}

#[test]
fn who_has_a_part_of_another_version_gets_no_more_of_this_one() {
    let origin = Origin::start(|_| {
        answer(
            200,
            "Cache-Control: max-age=60\nETag: \"v2\"\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT",
            b"0123456789",
        )
    });
    for behavior in ["", "slice = \"64KiB\"\n"] {
        let edge = Edge::start(&(plain(origin.address, "") + behavior));
        for (fields, status) in [
            (&["If-Match: \"v1\""][..], 412),
            (&["If-Match: \"v2\""], 206),
            (&["If-Match: *"], 206),
            (&["If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT"], 412),
            (&["If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT"], 206),
            (&["If-Match: \"v1\"", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT"], 412),
        ] {
            for turn in ["cold", "warm"] {
                let all = [fields, &["Range: bytes=5-"]].concat();
                let seen = edge.get_with(&format!("/{}", fields.join("").len()), &all);
                assert_eq!(
                    (seen.status, seen.whole),
                    (status, true),
                    "{turn} {fields:?}: {}",
                    seen.head
                );
            }
        }
        // Without a range it is the origin's to judge, and a fresh answer stands.
        assert_eq!(edge.get_with("/w", &["If-Match: \"v1\""]).status, 200);
    }
}

#[test]
fn an_encoded_answer_is_for_those_who_take_its_coding() {
    let origin = Origin::start(|asked| {
        let takes = asked.field("accept-encoding").is_some_and(|field| field.contains("gzip"));
        let fields = "Cache-Control: max-age=60\nContent-Type: text/plain";
        match (takes, asked.target.as_str()) {
            (true, "/negotiates") => {
                answer(200, &format!("{fields}\nContent-Encoding: gzip"), b"encoded")
            }
            (_, "/always") => answer(200, &format!("{fields}\nContent-Encoding: gzip"), b"encoded"),
            _ => answer(200, fields, b"plain"),
        }
    });
    let policy = "[cache_policy.c]\nsemantics = \"rfc9111\"\nttl = { min = \"0s\" }\n";
    for (more, behavior) in [("", ""), (policy, "cache_policy = \"c\"\n")] {
        let edge = Edge::start(&(plain(origin.address, more) + behavior));
        let get = |path: &str, accepts: &str| {
            edge.get_with(path, &[&format!("Accept-Encoding: {accepts}")])
        };
        let _ = get("/negotiates", "gzip, br");
        for accepts in ["identity", "br", "gzip;q=0"] {
            assert_eq!(get("/negotiates", accepts).text(), "plain", "{behavior} {accepts}");
        }
        // An origin that has nothing else is not asked again and again.
        let _ = get("/always", "gzip");
        let _ = get("/always", "identity");
        let asked = origin.count();
        for accepts in ["gzip", "identity", "br"] {
            assert_eq!(
                (get("/always", accepts).text(), origin.count()),
                ("encoded".into(), asked),
                "{behavior} {accepts}"
            );
        }
    }
}

#[test]
fn a_stored_language_is_for_those_who_want_it_most() {
    let origin = Origin::start(|asked| {
        let wants = asked.field("accept-language").unwrap_or_default();
        let tag = if wants.starts_with("de") { "de" } else { "en" };
        answer(
            200,
            &format!("Cache-Control: max-age=60\nVary: Accept-Language\nContent-Language: {tag}"),
            tag.as_bytes(),
        )
    });
    let policy = "[cache_policy.c]\nsemantics = \"rfc9111\"\nttl = { min = \"0s\" }\n";
    let edge = Edge::start(&(plain(origin.address, policy) + "cache_policy = \"c\"\n"));
    let get = |wants: &str| edge.get_with("/", &[&format!("Accept-Language: {wants}")]);
    assert_eq!((get("de").text(), get("en").text(), origin.count()), ("de".into(), "en".into(), 2));
    for (wants, text) in
        [("fr;q=0.5, de;q=1.0", "de"), ("DE, en;q=0.9", "de"), ("en, *;q=0.1", "en")]
    {
        assert_eq!((get(wants).text(), origin.count()), (text.into(), 2), "{wants}");
    }
    assert_eq!(get("fr, de;q=0.5").text(), "en", "French was not asked of the origin");
    assert_eq!(origin.count(), 3);
}

#[test]
fn a_body_that_breaks_off_is_gone_on_with_at_the_next_origin() {
    let octets: Vec<u8> = octets();
    let head =
        |status: &str, fields: &str| format!("HTTP/1.1 {status}\r\n{fields}\r\n").into_bytes();
    let copy = octets.clone();
    // The target says what is broken: `/tag/after`.
    let first = Origin::start(move |asked| {
        let (tag, after) = asked.target[1..].rsplit_once('/').unwrap();
        let after: usize = after.parse().unwrap();
        let tag = if tag == "none" {
            String::new()
        } else {
            format!("ETag: {}\r\n", tag.replace('\'', "\""))
        };
        let fields = format!("Cache-Control: max-age=60\r\n{tag}Content-Length: {LEN}\r\n");
        vec![
            Say::Bytes(head("200 OK", &fields)),
            Say::Bytes(copy[..after].to_vec()),
            Say::Wait(std::time::Duration::from_millis(5)),
            Say::Close,
        ]
    });
    let copy = octets.clone();
    let second = Origin::start(move |asked| {
        let fields = "Cache-Control: max-age=60\nETag: \"e\"";
        match range_of(asked).filter(|_| asked.field("if-range").as_deref() == Some("\"e\"")) {
            Some((from, to)) => answer(
                206,
                &format!("{fields}\nContent-Range: bytes {from}-{to}/{LEN}"),
                &copy[from..=to],
            ),
            None => answer(200, fields, &copy),
        }
    });
    let group = format!(
        "[[distribution.origin]]\nid = \"p\"\nurl = \"http://{}\"\n[[distribution.origin_group]]\nid = \"g\"\nmembers = [\"o\", \"p\"]\n\
         failover = [500, 502]\n[[distribution.behavior]]\n",
        second.address
    );
    let config = plain(first.address, "")
        .replace("[[distribution.behavior]]\n", &group)
        .replace("origin = \"o\"\n", "origin = \"g\"\n");
    let edge = Edge::start(&config);
    for after in [0, 1, 1000, 150_000, LEN - 1] {
        let seen = edge.get(&format!("/'e'/{after}"));
        assert!(
            seen.status == 200 && seen.whole && seen.body == octets,
            "{after}: {} octets, {}",
            seen.body.len(),
            seen.head
        );
        assert_eq!(
            second.seen().pop().unwrap().field("range"),
            Some(format!("bytes={after}-{}", LEN - 1))
        );
    }
    assert_eq!(edge.metric("foreshore_bodies_resumed_total"), 5.0);
    // What is stored is what was joined.
    assert_eq!(
        (edge.get("/'e'/1000").cache(), edge.get("/'e'/1000").body == octets),
        ("Hit".into(), true)
    );
    // Another version, a weak tag, or none: nothing is joined that may not be.
    for tag in ["'f'", "W/'e'", "none"] {
        let seen = edge.get(&format!("/{tag}/1000"));
        assert!(!seen.whole, "{tag}: {}", seen.head);
    }
    // Before the first octet it begins anew, whatever its tag.
    let seen = edge.get("/none/0");
    assert!(seen.whole && seen.body == octets, "{}", seen.head);
}

// What it says of codings counts nowhere: not for its key, not at the origin, not at a parent, which
// would take the edge's version for its viewer's.
#[test]
fn a_viewer_of_http_1_0_has_no_codings() {
    let page = "a line of text that compresses well\n".repeat(100);
    let copy = page.clone();
    let origin = Origin::start(move |_| {
        answer(200, "Cache-Control: max-age=60\nContent-Type: text/plain", copy.as_bytes())
    });
    let policy = "[cache_policy.c]\nttl = { min = \"0s\" }\ncompress = [\"br\", \"gzip\"]\n";
    let edge = Edge::start(&(plain(origin.address, policy) + "cache_policy = \"c\"\n"));
    for _ in 0..2 {
        let mut old = edge.viewer();
        old.send(b"GET /a HTTP/1.0\r\nHost: h.test\r\nAccept-Encoding: gzip\r\n\r\n");
        let seen = old.read("GET").unwrap();
        assert_eq!((seen.field("content-encoding"), seen.text() == page), (None, true));
        let seen = edge.get_with("/a", &["Accept-Encoding: gzip"]);
        assert_eq!(seen.field("content-encoding").as_deref(), Some("gzip"));
    }
    let asked: Vec<_> =
        origin.seen().iter().map(|asked| asked.field("accept-encoding").unwrap()).collect();
    assert_eq!(asked, ["identity", "gzip"]);
}

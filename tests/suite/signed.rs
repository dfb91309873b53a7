//! Signed URLs and cookies: what every signer of AWS's makes is taken, and nothing else is.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foreshore::access::check_signature;
use foreshore::crypto::key::PublicKey;
use foreshore::crypto::memory::VerifiedSignatures;
use foreshore::crypto::policy::covers;
use foreshore::crypto::url::{TrustedKeys, Unsigned};
use foreshore::message::connection::Connection;
use foreshore::message::key::InvalidationNumber;
use foreshore::message::request::ViewerRequest;
use foreshore::semantics::fields::FieldSection;
use foreshore::semantics::time::Timestamp;
use serde_json::Value;

use super::reloads::reload;
use super::support::edge::{command, plain};
use super::support::origin::{Say, answer};
use super::support::{Edge, Origin, eventually};

const NOW: Timestamp = Timestamp::from_secs(1_795_230_006);

fn vectors(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name)
}

fn table(name: &str) -> Vec<Value> {
    serde_json::from_slice(&std::fs::read(vectors(name)).unwrap()).unwrap()
}

const FILES: [&str; 2] = ["rsa2048-public.pem", "ecdsa-p256-public.pem"];

fn signers() -> TrustedKeys {
    let key = |id: &str, file: &str| {
        Arc::new(PublicKey::from_pem(id, &std::fs::read(vectors(file)).unwrap()).unwrap())
    };
    TrustedKeys {
        groups: Vec::new(),
        keys: vec![key("KRSATESTKEY001", FILES[0]), key("KECTESTKEY0001", FILES[1])],
    }
}

fn request(url: &str, cookies: Option<&Value>, from: &str) -> ViewerRequest {
    let mut fields = FieldSection::new();
    if let Some(Value::Object(all)) = cookies {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), String::from);
        let line: Vec<String> =
            all.iter().map(|(name, value)| format!("{name}={}", text(value))).collect();
        fields.insert("cookie", line.join("; "));
    }
    let request = ViewerRequest::get(url);
    let peer: std::net::SocketAddr = format!("{from}:4000").parse().unwrap();
    let connection = Connection::from(peer).with_scheme(request.scheme);
    request.with_fields(fields).with_connection(connection).with_arrival(NOW, InvalidationNumber(0))
}

fn verdict(request: &ViewerRequest, memory: &VerifiedSignatures) -> Result<(), Unsigned> {
    let first = check_signature(&request.head(), &signers(), memory, NOW);
    assert_eq!(
        check_signature(&request.head(), &signers(), memory, NOW),
        first,
        "remembered or not, it is the same"
    );
    first
}

#[test]
fn every_vector_is_judged_as_cloudfront_would() {
    let memory = VerifiedSignatures::default();
    let mut count = 0;
    for vector in table("signed-urls.json") {
        let (name, text) =
            (vector["name"].as_str().unwrap(), |key: &str| vector[key].as_str().unwrap());
        let want = if matches!(name, "canned-expired" | "custom-notyet") {
            Err(Unsigned::Denied)
        } else {
            Ok(())
        };
        for request in [
            request(text("signed_url"), None, "192.0.2.10"),
            request(text("url"), Some(&vector["cookies"]), "192.0.2.10"),
        ] {
            assert_eq!(verdict(&request, &memory), want, "{name} {}", text("algorithm"));
        }
        let elsewhere = request(text("signed_url"), None, "198.51.100.1");
        let is_bound = name.starts_with("custom-ip");
        assert_eq!(
            verdict(&elsewhere, &memory),
            if is_bound { Err(Unsigned::Denied) } else { want },
            "{name} from elsewhere"
        );
        count += 1;
    }
    for vector in table("signed-urls-jssdk.json") {
        let (name, signed) =
            (vector["name"].as_str().unwrap(), vector["signed_url"].as_str().unwrap());
        assert_eq!(verdict(&request(signed, None, "192.0.2.10"), &memory), Ok(()), "{name}");
        // Its cookies are over the URL as it was given, which no viewer sends where it has to be
        // escaped.
        if name != "canned" {
            let plain = signed.split('?').next().unwrap();
            assert_eq!(
                verdict(&request(plain, Some(&vector["cookies"]), "192.0.2.10"), &memory),
                Ok(()),
                "{name} as cookies"
            );
        }
        count += 1;
    }
    assert_eq!(count, 60);
}

#[test]
fn the_table_of_resources() {
    for row in table("policy-resource-matching.json") {
        let url = row["url"].as_str().unwrap();
        let found = row["resource"].as_str().is_none_or(|resource| covers(resource, url));
        assert_eq!(found, row["match"].as_bool().unwrap(), "{row}");
    }
}

// One memory over reloads: what was found good under a key says nothing under another that has its
// id now.
#[test]
fn what_is_remembered_of_a_key_is_of_no_use_to_another_of_its_name() {
    let (memory, first) = (VerifiedSignatures::default(), signers());
    let swapped = |at: usize| {
        Arc::new(
            PublicKey::from_pem(
                &first.keys[at].id,
                &std::fs::read(vectors(FILES[1 - at])).unwrap(),
            )
            .unwrap(),
        )
    };
    let second = TrustedKeys { groups: Vec::new(), keys: vec![swapped(0), swapped(1)] };
    let mut count = 0;
    for vector in table("signed-urls.json") {
        let request = request(vector["signed_url"].as_str().unwrap(), None, "192.0.2.10");
        if check_signature(&request.head(), &first, &memory, NOW).is_ok() {
            assert_eq!(
                check_signature(&request.head(), &second, &memory, NOW),
                Err(Unsigned::Denied),
                "{}",
                vector["name"]
            );
            assert_eq!(
                check_signature(&request.head(), &first, &memory, NOW),
                Ok(()),
                "{}",
                vector["name"]
            );
            count += 1;
        }
    }
    assert!(count > 10, "{count}");
}

// One octet of anything that was signed, changed, removed or said twice.
#[test]
fn nothing_of_a_signed_url_can_be_changed() {
    let memory = VerifiedSignatures::default();
    for vector in table("signed-urls.json")
        .into_iter()
        .filter(|vector| vector["name"] == "canned-with-query" || vector["name"] == "custom-ip32")
    {
        let url = vector["signed_url"].as_str().unwrap();
        assert_eq!(verdict(&request(url, None, "192.0.2.10"), &memory), Ok(()));
        let from = url.find("://").unwrap() + 3;
        let host_end = from + url[from..].find('/').unwrap();
        for at in (host_end..url.len()).step_by(7) {
            let octet = url.as_bytes()[at];
            // Unused bits at the end of base64 and the padding say nothing.
            if !octet.is_ascii_alphanumeric() || url[at..].chars().take(3).any(|c| c == '_') {
                continue;
            }
            let other = if octet == b'A' { 'B' } else { 'A' };
            let changed = format!("{}{other}{}", &url[..at], &url[at + 1..]);
            let judged = verdict(&request(&changed, None, "192.0.2.10"), &memory);
            assert!(judged.is_err(), "octet {at} of {url} counts for nothing");
        }
        for (what, changed) in [
            ("another host", url.replace("d111111abcdef8", "d222222abcdef8")),
            ("another scheme", url.replace("https://", "http://")),
            ("a parameter more", format!("{url}&more=1")),
            ("said twice", format!("{url}&Signature=AAAA")),
            ("another case", url.replace(".net/", ".net/X")),
            (
                "another spelling",
                url.replacen("image", "im%61ge", 1).replacen("/p.mp4", "/%70.mp4", 1),
            ),
            (
                "no signature",
                url.split("&Signature=").next().unwrap().to_string()
                    + "&Key-Pair-Id=KRSATESTKEY001",
            ),
        ] {
            let is_custom_and_covers_it = vector["kind"] == "custom" && what == "never";
            assert_eq!(
                verdict(&request(&changed, None, "192.0.2.10"), &memory).is_ok(),
                is_custom_and_covers_it,
                "{what}: {changed}"
            );
        }
        // A port that goes without saying, a host in capitals, parameters in another order: the
        // same URL.
        for same in
            [url.replace(".net/", ".net:443/"), url.replace("d111111abcdef8", "D111111ABCDEF8")]
        {
            assert_eq!(verdict(&request(&same, None, "192.0.2.10"), &memory), Ok(()), "{same}");
        }
    }
}

fn config(origin: &Origin, more: &str) -> Arc<tempfile::TempDir> {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    for file in [
        "rsa2048-public.pem",
        "ecdsa-p256-public.pem",
        "rsa2048-TEST-ONLY-private.pem",
        "ecdsa-p256-TEST-ONLY-private.pem",
    ] {
        std::fs::copy(vectors(file), folder.path().join(file)).unwrap();
    }
    let text = format!(
        "data = \"data\"\n[listen]\nhttp = [\"127.0.0.1:0\"]\nworkers = 2\n[admin]\nlisten = \"127.0.0.1:0\"\n[log]\naccess = \"access.log\"\n\
         [[public_key]]\nid = \"KRSATESTKEY001\"\nfile = \"rsa2048-public.pem\"\n[[public_key]]\nid = \"KECTESTKEY0001\"\nfile = \"ecdsa-p256-public.pem\"\n\
         [key_group.both]\nkeys = [\"KRSATESTKEY001\", \"KECTESTKEY0001\"]\n[key_group.ec]\nkeys = [\"KECTESTKEY0001\"]\n\
         [cache_policy.open]\nkey = {{ query = \"all\", cookies = \"all\" }}\n\
         [[distribution]]\nid = \"E1\"\nhosts = [\"*\"]\n[[distribution.origin]]\nid = \"o\"\nurl = \"http://{}\"\n{more}\
         [[distribution.behavior]]\npath = \"/private/*\"\norigin = \"o\"\ntrusted_key_groups = [\"both\"]\ncache_policy = \"open\"\n\
         [[distribution.behavior]]\npath = \"/ec/*\"\norigin = \"o\"\ntrusted_key_groups = [\"ec\"]\n\
         [[distribution.behavior]]\npath = \"*\"\norigin = \"o\"\n",
        origin.address
    );
    std::fs::write(folder.path().join("edge.toml"), text).unwrap();
    folder
}

fn signed(edge: &Edge, what: &str, path: &str, more: &[&str]) -> String {
    let url = format!("http://{}{path}", edge.http);
    let key = edge.path().join("ecdsa-p256-TEST-ONLY-private.pem");
    let args =
        [&["sign", what, &url, "--key-id", "KECTESTKEY0001", "--key", key.to_str().unwrap()], more]
            .concat();
    let (code, out, err) = command(edge.path(), &args);
    assert_eq!(code, 0, "{err}");
    out.trim().to_string()
}

// Path and query of a URL on the edge.
fn target<'u>(edge: &Edge, url: &'u str) -> &'u str {
    url.strip_prefix(&format!("http://{}", edge.http)).unwrap()
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn a_signature_opens_the_door_and_goes_no_further() {
    let origin =
        Origin::start(|asked| answer(200, "Cache-Control: max-age=600", asked.target.as_bytes()));
    let edge = Edge::start_in(config(&origin, ""));
    let host = format!("Host: {}", edge.http);
    let get =
        |target: &str, fields: &[&str]| edge.get_with(target, &[&[&host[..]], fields].concat());
    // Two viewers, two signatures, one stored response.
    let first = signed(&edge, "url", "/private/a?x=1", &["--expires-in", "1h"]);
    let second = signed(&edge, "url", "/private/a?x=1", &["--expires-in", "2h"]);
    let wide = signed(
        &edge,
        "url",
        "/private/a?x=1",
        &["--resource", &format!("http://{}/private/*", edge.http)],
    );
    assert_eq!(get(target(&edge, &first), &[]).cache(), "Miss");
    for url in [&first, &second, &wide] {
        let seen = get(target(&edge, url), &[]);
        assert_eq!(
            (seen.status, seen.cache(), seen.text()),
            (200, "Hit".into(), "/private/a?x=1".into()),
            "{url}"
        );
    }
    // Cookies do the same, and are in no key, though the policy keys cookies.
    let cookies = signed(
        &edge,
        "cookies",
        "/private/",
        &["--resource", &format!("http://{}/private/*", edge.http)],
    );
    let pairs: Vec<&str> = cookies
        .lines()
        .map(|line| line.strip_prefix("Set-Cookie: ").unwrap().split(';').next().unwrap())
        .collect();
    let line = format!("Cookie: {}", pairs.join("; "));
    assert_eq!(get("/private/a?x=1", &[&line]).cache(), "Hit");
    assert_eq!(get("/private/b", &[&format!("{line}; theme=dark")]).cache(), "Miss");
    for asked in origin.seen() {
        let all = format!("{asked:?}");
        assert!(!all.contains("Signature") && !all.contains("Key-Pair-Id"), "{all}");
    }
    assert_eq!(origin.seen()[1].field("cookie").as_deref(), Some("theme=dark"));
    // Nor is a signature in the log.
    let log = || std::fs::read_to_string(edge.path().join("access.log")).unwrap_or_default();
    // Each core writes its own lines.
    eventually("all of them are in the log", || log().matches('\n').count() == 6);
    let log = log();
    assert!(
        log.contains("Signature=-&Key-Pair-Id")
            && !log.contains(first.split("Signature=").nth(1).unwrap().split('&').next().unwrap())
    );
}

#[test]
fn what_would_open_nothing_is_not_signed() {
    let folder = config(&Origin::start(|_| answer(200, "", b"x")), "");
    let key = folder.path().join("ecdsa-p256-TEST-ONLY-private.pem");
    let sign = |what: &str, url: &str, more: &[&str]| {
        let args =
            [&["sign", what, url, "--key-id", "K", "--key", key.to_str().unwrap()], more].concat();
        command(folder.path(), &args)
    };
    let star = "https://h.test/img/*";
    for (what, url, more, remedy) in [
        ("url", "https://h.test/a b", &[][..], "' ' as %20"),
        ("url", "h.test/a", &[], "begins with https:// or http://"),
        ("url", "https://h.test/a", &["--resource", "https://h.test/a b*"], "' ' as %20"),
        ("cookies", star, &[], "--resource 'https://h.test/img/*'"),
    ] {
        let (code, out, err) = sign(what, url, more);
        assert_eq!((code, &out[..]), (1, ""), "{url}");
        assert!(err.contains(remedy), "{err}");
    }
    for (what, more) in [
        ("url", &[][..]),
        ("cookies", &["--resource", star]),
        ("cookies", &["--ip", "192.0.2.0/24"]),
    ] {
        assert_eq!(sign(what, star, more).0, 0, "{what} {more:?}");
    }
}

#[test]
fn who_has_no_signature_is_told_in_cloudfronts_words() {
    let origin = Origin::start(|_| answer(200, "Cache-Control: max-age=600", b"x"));
    let edge = Edge::start_in(config(&origin, ""));
    let host = format!("Host: {}", edge.http);
    let good = signed(&edge, "url", "/private/a", &[]);
    let good = target(&edge, &good);
    let other_key = good.replace("KECTESTKEY0001", "KNOBODY");
    let rsa = good.replace("KECTESTKEY0001", "KRSATESTKEY001");
    let not_base64 = good.replacen("Signature=", "Signature=!!", 1);
    let expired = signed(&edge, "url", "/private/a", &["--until", &(now() - 1).to_string()]);
    let early = signed(&edge, "url", "/private/a", &["--since", &(now() + 100).to_string()]);
    let elsewhere = signed(&edge, "url", "/private/a", &["--ip", "192.0.2.0/24"]);
    let here = signed(&edge, "url", "/private/a", &["--ip", "127.0.0.0/8"]);
    let key = "&Key-Pair-Id=KECTESTKEY0001";
    for (what, target, status, code) in [
        ("a good one", good, 200, ""),
        ("from here", target(&edge, &here), 200, ""),
        ("nothing", "/private/a", 403, "MissingKey"),
        ("no key id", "/private/a?Expires=1&Signature=AAAA", 403, "MissingKey"),
        ("an unknown key", &other_key, 403, "InvalidKey"),
        ("a key of another group", &rsa.replace("/private/", "/ec/"), 403, "InvalidKey"),
        ("not base64", &not_base64, 403, "MalformedSignature"),
        (
            "not a policy",
            &format!("/private/a?Policy=AAAA&Signature=AAAA{key}"),
            403,
            "MalformedPolicy",
        ),
        ("another key's", &rsa, 403, "AccessDenied"),
        ("another path's", &good.replace("/private/a", "/private/b"), 403, "AccessDenied"),
        ("expired", target(&edge, &expired), 403, "AccessDenied"),
        ("too early", target(&edge, &early), 403, "AccessDenied"),
        ("from elsewhere", target(&edge, &elsewhere), 403, "AccessDenied"),
        ("a dot segment", &good.replace("/private/a", "/private/%2e%2e/private/a"), 400, ""),
        ("open to all", "/open?Expires=1&Signature=x&Key-Pair-Id=y", 200, ""),
    ] {
        let seen = edge.get_with(target, &[&host]);
        assert_eq!(seen.status, status, "{what}: {}", seen.text());
        if !code.is_empty() {
            let body = seen.text();
            assert!(
                body.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>")
                    && body.contains(&format!("<Code>{code}</Code>")),
                "{what}: {body}"
            );
            assert_eq!(
                (seen.field("content-type").as_deref(), seen.cache()),
                (Some("text/xml"), "Error".into())
            );
        }
    }
    // A stored answer is no way around it, nor is HEAD, a range or a condition.
    for fields in
        [&["Range: bytes=0-0"][..], &["If-None-Match: *"], &["Cache-Control: only-if-cached"]]
    {
        assert_eq!(edge.get_with("/private/a", &[&[&host[..]], fields].concat()).status, 403);
    }
    let (story, text, _) =
        command(edge.path(), &["explain", "--config", "edge.toml", "http://h.test/private/a"]);
    assert!(story == 0 && text.contains("refused: 403 Missing Key-Pair-Id"), "{text}");
    let url = format!("http://{}{good}", edge.http);
    let (_, text, _) = command(edge.path(), &["explain", "--config", "edge.toml", &url]);
    assert!(
        text.contains("with a signature that holds")
            && text.contains("key       E1|/private/a|cookie=\n"),
        "{text}"
    );
}

#[test]
fn a_reload_forgets_no_signature_but_those_of_keys_that_are_gone() {
    let origin = Origin::start(|_| answer(200, "Cache-Control: max-age=600", b"x"));
    let edge = Edge::start_in(config(&origin, ""));
    let text = std::fs::read_to_string(edge.path().join("edge.toml")).unwrap();
    let host = format!("Host: {}", edge.http);
    let url = signed(&edge, "url", "/private/a", &["--expires-in", "1h"]);
    // Status, and CloudFront's code where it is refused.
    let ask = || {
        let seen = edge.get_with(target(&edge, &url), &[&host]);
        let code = seen
            .text()
            .split_once("<Code>")
            .and_then(|(_, rest)| Some(rest.split_once("</Code>")?.0.to_string()));
        (seen.status, code.unwrap_or_default())
    };
    let good = || (200_u16, String::new());
    let remembered = || edge.metric("foreshore_signatures_remembered");
    assert_eq!((ask(), remembered()), (good(), 1.0));
    reload(&edge, &text);
    assert_eq!(remembered(), 1.0, "the same file");
    assert_eq!((ask(), remembered()), (good(), 1.0), "and it is found again");
    let both = "keys = [\"KRSATESTKEY001\", \"KECTESTKEY0001\"]";
    let ec = "id = \"KECTESTKEY0001\"\nfile = \"ecdsa-p256-public.pem\"";
    for (what, from, to, code) in [
        ("the key left the group", both, "keys = [\"KRSATESTKEY001\"]", "InvalidKey"),
        (
            "another key has its id",
            ec,
            "id = \"KECTESTKEY0001\"\nfile = \"rsa2048-public.pem\"",
            "AccessDenied",
        ),
    ] {
        assert!(text.contains(from), "{what}");
        reload(&edge, &text.replace(from, to));
        assert_eq!(ask(), (403, code.to_string()), "{what}");
        reload(&edge, &text);
        assert_eq!((ask(), remembered()), (good(), 1.0), "{what}, and is back");
    }
}

#[test]
fn a_download_that_began_in_time_may_end_later() {
    let until = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&until);
    let origin = Origin::start(move |_| {
        let left = told.load(Ordering::SeqCst).saturating_sub(now());
        vec![
            Say::Bytes(
                b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nCache-Control: no-store\r\n\r\nhalf"
                    .to_vec(),
            ),
            // The time is over by more than a moment.
            Say::Wait(std::time::Duration::from_millis(left * 1000 + 500)),
            Say::Bytes(b"rest".to_vec()),
        ]
    });
    let edge = Edge::start_in(config(&origin, ""));
    let host = format!("Host: {}", edge.http);
    // Long enough for a signature to be made and shown on a machine that is busy.
    let end = now() + 5;
    until.store(end, Ordering::SeqCst);
    let url = signed(&edge, "url", "/private/long", &["--until", &end.to_string()]);
    let seen = edge.get_with(target(&edge, &url), &[&host]);
    assert_eq!((seen.status, seen.text()), (200, "halfrest".into()));
    assert_eq!(
        edge.get_with(target(&edge, &url), &[&host]).status,
        403,
        "the next request is judged anew"
    );
}

// Another spelling of the same place is no way to another behavior's rules.
#[test]
fn a_private_file_has_no_open_spelling() {
    let site = Arc::new(tempfile::tempdir().unwrap());
    std::fs::create_dir_all(site.path().join("private")).unwrap();
    std::fs::write(site.path().join("private/a.mp4"), "secret").unwrap();
    let origin = Origin::start(|_| answer(200, "Cache-Control: max-age=600", b"x"));
    let folder = config(&origin, "");
    let file = folder.path().join("edge.toml");
    let url = format!("url = \"file:{}\"", site.path().display());
    let text = std::fs::read_to_string(&file)
        .unwrap()
        .replace(&format!("url = \"http://{}\"", origin.address), &url);
    std::fs::write(&file, text.replace("path = \"/ec/*\"", "path = \"*.mp4\"")).unwrap();
    let edge = Edge::start_in(folder);
    for path in [
        "/private/a.mp4",
        "//private/a.mp4",
        "/private//a.mp4",
        "/private%2Fa.mp4",
        "/private%2fa.mp4",
        "/%70rivate/a.mp4",
        "/%2Fprivate/a.mp4",
        "/private/a.mp4/",
        "/private/a.mp4%2F",
        "/x/..%2Fprivate/a.mp4",
        "/private/%61.mp4",
        "/private/a%2Emp4",
        "/private\\a.mp4",
    ] {
        for query in ["", "?x=1"] {
            let seen = edge.get(&format!("{path}{query}"));
            assert!(
                seen.status >= 400 && !seen.text().contains("secret"),
                "{path}: {} {}",
                seen.status,
                seen.text()
            );
        }
    }
}

// A page for viewers that are refused is what the operator set, not CloudFront's words.
#[test]
fn a_refusal_may_have_a_page_of_its_own() {
    let origin = Origin::start(|asked| {
        answer(
            200,
            "Cache-Control: max-age=600",
            if asked.target == "/login.html" { b"log in" } else { b"x" },
        )
    });
    let folder = config(&origin, "");
    let file = folder.path().join("edge.toml");
    let rule = "\n[[distribution.error_response]]\nstatus = 403\npage = \"/login.html\"\nrespond_with = 403\n";
    let text = std::fs::read_to_string(&file).unwrap() + rule;
    std::fs::write(&file, text).unwrap();
    let edge = Edge::start_in(folder);
    let seen = edge.get("/private/a");
    assert_eq!((seen.status, seen.text()), (403, "log in".into()));
}

// A key group without keys lets nobody in: that is how an import closes what it cannot guard.
#[test]
fn what_is_closed_to_all_viewers_is_no_page_of_an_error() {
    let origin = Origin::start(|_| answer(200, "Cache-Control: max-age=600", b"the origin's"));
    let page = "[[distribution.error_response]]\nstatus = 403\npage = \"/index.html\"\nrespond_with = 200\n";
    for closed in ["trusted_key_groups = [\"nobody\"]\n", "allow_from = [\"198.51.100.0/24\"]\n"] {
        let config = plain(origin.address, "[key_group.nobody]\nkeys = []\n") + closed + page;
        let edge = Edge::start(&config);
        for path in ["/", "/private/report", "/index.html"] {
            let seen = edge.get(path);
            assert_eq!(seen.status, 403, "{closed} {path}");
            assert!(!seen.text().contains("the origin's"), "{closed} {path}");
        }
        let args = ["explain", "--config", "edge.toml", "http://h.test/private/report"];
        let (_, told, _) = command(edge.path(), &args);
        assert!(told.contains("403") && !told.contains("/index.html in its place"), "{told}");
    }
    assert_eq!(origin.seen().len(), 0);
}

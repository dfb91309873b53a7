//! Configurations: every file of `config/` loads, the tour has every key, mistakes are reported all
//! at once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use foreshore::config::{self, MissingCertificates};
use foreshore::semantics::time::Timestamp;

use super::support::edge::command;
use super::support::tool;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn samples() -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(root().join("config"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "toml"))
        .collect();
    all.sort();
    all
}

#[test]
fn every_sample_loads() {
    assert!(samples().len() >= 3);
    for path in samples() {
        let (code, out, err) = command(&root(), &["check", "--config", path.to_str().unwrap()]);
        assert_eq!(code, 0, "{}\n{out}{err}", path.display());
    }
}

// A key that the tour does not show, commented or not, is a key nobody will find.
#[test]
fn the_tour_shows_every_key() {
    let tour = root().join("config/tour.toml");
    let keys: BTreeSet<String> = config::known_keys(&tour, NOW);
    assert!(keys.len() > 80, "{}", keys.len());
    let text = std::fs::read_to_string(&tour).unwrap();
    for key in keys {
        let last = key.rsplit('.').next().unwrap();
        if last == "NAME" {
            continue;
        }
        let shown = text.lines().any(|line| {
            let bare = line.trim_start_matches(['#', ' ']);
            let named = |rest: &str| {
                rest.starts_with(' ')
                    || rest.starts_with('=')
                    || rest.starts_with('.')
                    || rest.starts_with(']')
            };
            bare.match_indices(last).any(|(at, _)| {
                let before = bare[..at].chars().next_back();
                before.is_none_or(|c| "[{ .,".contains(c)) && named(&bare[at + last.len()..])
            })
        });
        assert!(shown, "{key} is not in config/tour.toml");
    }
}

fn problems(text: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.toml");
    std::fs::write(&path, text).unwrap();
    match config::load(&path, NOW, MissingCertificates::Done) {
        Ok(_) => Vec::new(),
        Err(report) => report
            .lines()
            .into_iter()
            .map(|line| line.replace(&format!("{}/", folder.path().display()), ""))
            .collect(),
    }
}

// All that is said of a text, each of these lines with these words among it.
fn expect(text: &str, wanted: &[(&str, &str)]) -> Vec<String> {
    let found = problems(text);
    for (line, words) in wanted {
        assert!(
            found.iter().any(|said| said.starts_with(line) && said.contains(words)),
            "{line} {words}\n{}",
            found.join("\n")
        );
    }
    found
}

#[test]
fn all_mistakes_at_once_each_with_line_and_remedy() {
    let text = r#"
[lisen]
http = ["127.0.0.1:80"]

[listen]
http = ["127.0.0.1"]
workers = 0

[tls]
policy = "TLSv1_2016"

[store]
memory = "lots"

[cache_policy.p]
ttl = { min = "2d", max = "1d" }
semantics = "cloudfrnt"

[[distribution]]
id = "E1"
hosts = ["*.*.com", "a.test", "a.test"]
default_root_object = "/index.html"

[[distribution.origin]]
id = "images"
url = "ftp://x"

[[distribution.origin]]
id = "app"
url = "https://app.test"

[[distribution.behavior]]
path = "*"
origin = "ap"
cache_policy = "CachingOptimised"

[[distribution.behavior]]
path = "/[a]"
origin = "app"
methods = ["GET"]
"#;
    expect(
        text,
        &[
            ("broken.toml:2:", "lisen is not a known key (did you mean \"listen\"?)"),
            ("broken.toml:6:", "no address with a port"),
            ("broken.toml:7:", "lies outside 1 to 256"),
            ("broken.toml:10:", "older than TLS 1.2"),
            ("broken.toml:13:", "a size is a number and a unit"),
            ("broken.toml:16:", "lies above max"),
            ("broken.toml:17:", "is not known (one of \"cloudfront\", \"rfc9111\")"),
            ("broken.toml:21:", "plain domain name"),
            ("broken.toml:21:", "belongs to distribution \"E1\" already"),
            ("broken.toml:22:", "without a slash in front"),
            ("broken.toml:26:", "not one of https, http, file"),
            ("broken.toml:33:", "takes everything"),
            ("broken.toml:34:", "there is no origin \"ap\" (did you mean \"app\"?)"),
            ("broken.toml:35:", "did you mean \"CachingOptimized\"?"),
            ("broken.toml:38:", "not allowed in a path pattern"),
            ("broken.toml:40:", "not one of CloudFront's sets"),
        ],
    );
}

#[test]
fn logs_and_keys_that_make_no_sense_are_named() {
    let text = r#"
[log]
standard = { folders = "a" }
realtime = { sampling = 0, fields = ["sc-statu", "cs-method", 7] }
[cache_policy.p]
key = { headers = ["CloudFront-Viewer-JA3-Fingerprint", "CloudFront-Viewer-Country"] }
[[distribution]]
id = "E1"
hosts = ["*"]
[[distribution.origin]]
id = "o"
url = "https://app.test"
[[distribution.behavior]]
path = "*"
origin = "o"
cache_policy = "p"
"#;
    let found = expect(
        text,
        &[
            ("broken.toml:3:", "log.standard.folder is missing"),
            ("broken.toml:3:", "did you mean \"folder\"?"),
            ("broken.toml:4:", "log.realtime.file is missing"),
            ("broken.toml:4:", "log.realtime.sampling lies outside 1 to 100"),
            ("broken.toml:4:", "did you mean \"sc-status\"?"),
            ("broken.toml:4:", "an item of it"),
            ("broken.toml:6:", "JA3-Fingerprint is nearly each viewer's own"),
        ],
    );
    // And that nothing is listened for.
    assert_eq!(found.len(), 8, "{}", found.join("\n"));
}

#[test]
fn a_tier_that_makes_no_sense_is_named() {
    let whole = |tier: &str| {
        format!(
            "[listen]\nhttp = [\"127.0.0.1:1\"]\n[[distribution]]\nid = \"E1\"\nhosts = [\"*\"]\n\
             [[distribution.origin]]\nid = \"o\"\nurl = \"https://app.test\"\n[tier]\n{tier}\n"
        )
    };
    let table = [
        ("", "tier.kind is missing"),
        ("kind = \"redis\"", "tier.urls is missing"),
        ("kind = \"etcd\"", "is not known (one of \"redis\", \"memcached\")"),
        ("kind = \"redis\"\nurls = []", "names no node"),
        ("kind = \"redis\"\nurls = [\"memcached://a\"]", "the scheme is not one of redis://"),
        ("kind = \"redis\"\nurls = [\"redis://:pw@a\"]", "stand in tier.auth"),
        ("kind = \"redis\"\nurls = [\"redis://a/3\"]", "database 0"),
        ("kind = \"redis\"\nurls = [\"redis://a b\"]", "this is no host"),
        ("kind = \"redis\"\nurls = [\"redis://a\", \"redis://b\"]", "takes one url"),
        ("kind = \"redis\"\nurls = [\"redis://a\"]\nmode = \"sentinel\"", "primary is missing"),
        ("kind = \"redis\"\nurls = [\"redis://a\"]\nprimary = \"x\"", "sentinels know"),
        ("kind = \"redis\"\nurls = [\"redis://a\"]\nmode = \"fixed\"", "one of \"single\""),
        (
            "kind = \"memcached\"\nurls = [\"memcached://a\"]\nmode = \"cluster\"",
            "one of \"fixed\"",
        ),
        (
            "kind = \"memcached\"\nurls = [\"memcached://a\", \"memcacheds://b\"]",
            "TLS is for all nodes or for none",
        ),
        ("kind = \"memcached\"\nurls = [\"memcached://a\", \"memcached://a\"]", "named twice"),
        ("kind = \"redis\"\nurls = [\"redis://a\"]\ntls = {}", "reached in clear text"),
        ("kind = \"redis\"\nurls = [\"rediss://a\"]\nauth = {}", "auth.password is missing"),
        (
            "kind = \"redis\"\nurls = [\"redis://a\"]\nauth = { password = { file = \"broken.toml\" } }",
            "over the network in clear text",
        ),
        (
            "kind = \"redis\"\nurls = [\"redis://a\"]\ntimeouts = { first = \"3s\" }",
            "first is longer than tier.timeouts.total",
        ),
        (
            "kind = \"redis\"\nurls = [\"redis://a\"]\nprevious_key = { file = \"broken.toml\" }",
            "previous_key without tier.key",
        ),
        ("kind = \"redis\"\nurls = [\"redis://a\"]\nkey = { file = \"none\" }", "cannot be read"),
    ];
    for (tier, words) in table {
        let found = expect(&whole(tier), &[("broken.toml:", words)]);
        assert!(!found.iter().any(|said| said.contains("pw")), "{}", found.join("\n"));
    }
    let good = "kind = \"redis\"\nurls = [\"redis://a\", \"redis://[::1]:1\"]\nmode = \"cluster\"";
    assert_eq!(problems(&whole(good)), Vec::<String>::new());
}

#[test]
fn orders_that_a_bucket_does_not_know_are_named() {
    let text = r#"
[listen]
http = ["127.0.0.1:1"]
[[distribution]]
id = "E1"
hosts = ["*"]
[[distribution.origin]]
id = "a"
url = "https://a.test"
access_control = { sign = "never", subresources = "allow" }
[[distribution.origin]]
id = "b"
url = "https://b.test"
access_control = { sign = "never", subresources = ["tagging", "X-Amz-Acl", "taging", "response-expires"] }
[[distribution.origin]]
id = "c"
url = "https://c.test"
access_control = { sign = "never", service = "lambda", subresources = "pass" }
[[distribution.behavior]]
path = "*"
origin = "a"
"#;
    let found = expect(
        text,
        &[
            ("broken.toml:10:", "subresources = \"allow\" is not known"),
            ("broken.toml:14:", "did you mean \"tagging\"?"),
            ("broken.toml:14:", "\"response-expires\" needs no leave"),
            ("broken.toml:18:", "is for buckets"),
        ],
    );
    assert_eq!(found.len(), 4, "{}", found.join("\n"));
}

#[test]
fn patterns_of_fields_that_make_no_sense_are_named() {
    let text = r#"
[listen]
http = ["127.0.0.1:1"]
[cache_policy.p]
key = { headers = ["*", "X-Device*", "CloudFront-Is-*", "X y*"], cookies = ["wordpress_*"] }
[origin_request_policy.o]
headers = ["Accept*", "**"]
[[distribution]]
id = "E1"
hosts = ["*"]
[[distribution.origin]]
id = "o"
url = "https://app.test"
"#;
    let found = expect(
        text,
        &[
            ("broken.toml:5:", "\"*\" is every field"),
            ("broken.toml:5:", "named in full"),
            ("broken.toml:5:", "no field name, and no pattern of one"),
            ("broken.toml:7:", "\"**\" is every field"),
        ],
    );
    assert_eq!(found.len(), 4, "{}", found.join("\n"));
}

// One line for each behavior that keeps what its origin may have made of more than its key; none
// for others.
#[test]
fn behaviors_that_keep_what_is_not_in_their_key_are_warned_of_once() {
    let behavior = |path: &str, policies: &str| {
        format!("[[distribution.behavior]]\npath = {path:?}\norigin = \"o\"\n{policies}\n")
    };
    let text = [
        "[listen]\nhttp = [\"127.0.0.1:1\"]\n",
        "[cache_policy.all]\nkey = { query = \"all\", headers = [\"Origin\"], cookies = \"all\" }\n",
        "[cache_policy.some]\nkey = { query = [\"a\"], cookies = [\"lang\"] }\n",
        "[cache_policy.rfc]\nsemantics = \"rfc9111\"\n",
        "[cache_policy.stars]\nkey = { query_except = [\"utm_*\"] }\n",
        "[origin_request_policy.keyed]\nheaders = [\"Origin\", \"Host\", \"CloudFront-Forwarded-Proto\"]\nquery = \"all\"\ncookies = \"all\"\n",
        "[origin_request_policy.named]\nheaders = [\"Origin\", \"Referer\"]\ncookies = [\"lang\", \"id\"]\nquery = \"all\"\n",
        "[[distribution]]\nid = \"E1\"\nhosts = [\"*\"]\ncomment = \"the shop\"\n[[distribution.origin]]\nid = \"o\"\nurl = \"https://app.test\"\n",
        &behavior("/viewer", "cache_policy = \"CachingOptimized\"\norigin_request_policy = \"AllViewer\""),
        &behavior("/off", "cache_policy = \"CachingDisabled\"\norigin_request_policy = \"AllViewer\""),
        &behavior("/keyed", "cache_policy = \"all\"\norigin_request_policy = \"keyed\""),
        &behavior("/named", "cache_policy = \"some\"\norigin_request_policy = \"named\""),
        &behavior("/rfc", "cache_policy = \"rfc\""),
        &behavior("*", ""),
    ]
    .concat();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edge.toml");
    std::fs::write(&path, text).unwrap();
    let site = config::load(&path, NOW, MissingCertificates::Done)
        .unwrap_or_else(|report| panic!("{}", report.render(false)))
        .site;
    assert_eq!(site.distributions[0].comment.as_deref(), Some("the shop"));
    let said = |words: &[&str]| {
        site.warnings.iter().filter(|line| words.iter().all(|word| line.contains(word))).count()
    };
    assert_eq!(site.warnings.len(), 3, "{:#?}", site.warnings);
    assert_eq!(
        said(&[
            "\"/viewer\"",
            "all of the viewer's",
            "cookies: all",
            "query parameters: all",
            "CachingDisabled"
        ]),
        1,
        "{:#?}",
        site.warnings
    );
    assert_eq!(
        said(&[
            "\"/named\"",
            "fields: origin, referer",
            "cookies: id",
            "query parameters: all but a"
        ]),
        1,
        "{:#?}",
        site.warnings
    );
    assert_eq!(said(&["\"stars\"", "utm_*", "Name each one"]), 1, "{:#?}", site.warnings);
    // To whoever checks it they are said, and it loads.
    let (code, out, err) = command(folder.path(), &["check", "--config", path.to_str().unwrap()]);
    assert_eq!((code, out.matches("warning: ").count()), (0, 3), "{out}{err}");
}

#[test]
fn certificates_that_cannot_be_used_are_named() {
    if !tool::have(&[tool::OPENSSL]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let openssl = |args: &[&str]| {
        let out = std::process::Command::new("openssl")
            .current_dir(folder.path())
            .args(args)
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    };
    let make = |name: &str, days: &str| {
        let (key, out) = (format!("{name}.key"), format!("{name}.pem"));
        openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            &key,
            "-out",
            &out,
            "-days",
            days,
            "-subj",
            "/CN=a.test",
            "-addext",
            "subjectAltName=DNS:a.test",
        ]);
    };
    make("one", "30");
    make("two", "30");
    let now = foreshore::clock::Clock::system().now();
    let load = |certificate: &str, now: Timestamp| {
        let path = folder.path().join("edge.toml");
        let text = format!(
            "[listen]\nhttps = [\"127.0.0.1:1\"]\n[[certificate]]\n{certificate}\n[[distribution]]\nid = \"E\"\nhosts = [\"*\"]\n[[distribution.origin]]\nid = \"o\"\nurl = \"http://o.test\"\n"
        );
        std::fs::write(&path, text).unwrap();
        config::load(&path, now, MissingCertificates::Done)
            .map(drop)
            .map_err(|report| report.lines().join("\n"))
    };
    assert_eq!(load("chain = \"one.pem\"\nkey = \"one.key\"", now), Ok(()));
    let said = load("chain = \"one.pem\"\nkey = \"two.key\"", now).unwrap_err();
    assert!(said.contains("two.key") && said.contains("does not fit the certificate"), "{said}");
    let later = Timestamp(now.0 + 40 * 86_400_000);
    assert!(
        load("chain = \"one.pem\"\nkey = \"one.key\"", later).unwrap_err().contains("expired on")
    );
    assert!(load("chain = \"none.pem\"\nkey = \"one.key\"", now).unwrap_err().contains("none.pem"));
    assert!(
        load("chain = \"one.key\"\nkey = \"one.key\"", now)
            .unwrap_err()
            .contains("holds no certificate")
    );
}

#[test]
fn check_and_explain_as_commands() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("bad.toml"),
        "[listen]\nhttp = [\"127.0.0.1:1\"]\nworker = 2\n",
    )
    .unwrap();
    let (code, _, err) = command(folder.path(), &["check", "--config", "bad.toml"]);
    assert_eq!(code, 1);
    assert!(
        err.contains("worker")
            && err.contains("did you mean \"workers\"?")
            && err.contains("bad.toml:3"),
        "{err}"
    );
    assert!(err.contains("2 problems; nothing was loaded"), "{err}");
    assert_eq!(command(folder.path(), &["check", "--config", "absent.toml"]).0, 1);
    let (code, out, err) = command(
        &root(),
        &[
            "explain",
            "--config",
            "config/app.toml",
            "https://www.example.com/api/x?b=1",
            "-X",
            "POST",
        ],
    );
    assert_eq!(code, 0, "{err}");
    for words in [
        "distribution \"EAPP\"",
        "behavior \"/api/*\"",
        "the policy's maximum TTL is zero",
        "POST /api/x?b=1",
    ] {
        assert!(out.contains(words), "{words}\n{out}");
    }
    let (code, _, err) = command(
        &root(),
        &["explain", "--config", "config/foreshore.toml", "https://localhost/../x"],
    );
    assert!(code == 1 && err.contains("refused: 400"), "{err}");
    for (answer, says) in [
        ("Cache-Control: max-age=60", "fresh for 60 s: the origin's max-age (RFC 9111 §5.2.2.1)"),
        ("Cache-Control: private", "not kept: private (RFC 9111 §5.2.2.7)"),
        (
            "CDN-Cache-Control: max-age=5",
            "fresh for 5 s: the origin's CDN-Cache-Control (RFC 9213 §2.2)",
        ),
        ("X: y", "fresh for 1 d: the policy's default TTL"),
    ] {
        let (code, out, err) = command(
            &root(),
            &["explain", "--config", "config/foreshore.toml", "http://localhost/x", "-A", answer],
        );
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(out.contains(says), "{answer}: {out}");
    }
    let (_, out, _) = command(
        &root(),
        &["explain", "--config", "config/foreshore.toml", "http://localhost/x", "--status", "404"],
    );
    assert!(out.contains("fresh for 10 s: the error caching minimum TTL"), "{out}");
    let (_, out, _) =
        command(&root(), &["explain", "--config", "config/app.toml", "https://localhost/%61pi/x"]);
    assert!(
        out.contains("behavior \"/api/*\""),
        "an escape does not choose another behavior\n{out}"
    );
    for args in [
        &["--help"][..],
        &["run", "--help"],
        &["check", "--help"],
        &["explain", "--help"],
        &["purge", "--help"],
        &["certs", "dev", "--help"],
        &["--version"],
    ] {
        let (code, out, _) = command(Path::new("/"), args);
        assert!(code == 0 && !out.is_empty(), "{args:?}");
    }
}

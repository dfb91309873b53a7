//! Configurations: every file of `config/` loads, the tour has every key, mistakes are reported all
//! at once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use foreshore::config::{self, MissingCertificates};
use foreshore::distribution::fleet::{Prefer, SequencerAt};
use foreshore::distribution::site::Site;
use foreshore::semantics::time::Timestamp;

use super::support::edge::command;
use super::support::tool;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn samples() -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = ["config", "config/fleet", "config/tier"]
        .into_iter()
        .flat_map(|folder| std::fs::read_dir(root().join(folder)).unwrap())
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

// A key that the tour does not show, commented or not, is a key that no operator will find.
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
fn what_is_wrong_with_the_process_is_said_at_once() {
    let text = r#"
[listen]
http = ["127.0.0.1:80"]

[process]
user = "a b"
new_privileges = "never"
core_dumps = true
writable = "/var/log"
users = "x"
"#;
    expect(
        text,
        &[
            ("broken.toml:6:", "no user's name or number"),
            ("broken.toml:7:", "is not known"),
            ("broken.toml:8:", "true or false"),
            ("broken.toml:9:", "is a string"),
            ("broken.toml:10:", "is not a known key"),
        ],
    );
}

#[test]
fn what_is_wrong_with_traces_is_said_at_once() {
    let text = r#"
[listen]
http = ["127.0.0.1:80"]

[traces]
endpoint = "collector:4318"
rate = "5"
trusted = ["everywhere"]
propagate = ["w3c", "b3"]
headers = { authorization = { file = "missing" } }
timeout = "0s"
queue = 0
sampling = 1
"#;
    expect(
        text,
        &[
            ("broken.toml:6:", "a collector is an http or https URL"),
            ("broken.toml:7:", "a share of the requests"),
            ("broken.toml:8:", "is no network"),
            ("broken.toml:9:", "is no form of a trace"),
            ("broken.toml:10:", "cannot be read"),
            ("broken.toml:11:", "traces.timeout is zero"),
            ("broken.toml:12:", "lies outside 1"),
            ("broken.toml:13:", "sampling"),
        ],
    );
    let missing = "[listen]\nhttp = [\"127.0.0.1:80\"]\n[traces]\nrate = \"1%\"\n";
    expect(missing, &[("broken.toml:", "traces.endpoint is missing")]);
}

// What somebody who has never seen such a file writes is answered with what to write instead.
#[test]
fn a_wrong_kind_is_answered_with_an_example() {
    let text = r#"
[listen]
http = ["127.0.0.1:80"]
[limits]
drain = 5
[store]
memory = 64
[admin]
token = "abc"
"#;
    expect(
        text,
        &[
            ("broken.toml:5:", "limits.drain is a number"),
            ("broken.toml:7:", "store.memory is a number"),
            ("broken.toml:9:", "admin.token is a string"),
        ],
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.toml");
    std::fs::write(&path, text).unwrap();
    let check = |path: &str| {
        let (code, out, err) = command(&root(), &["check", "--config", path]);
        assert_eq!(code, 1, "{out}{err}");
        out + &err
    };
    let said = check(path.to_str().unwrap());
    for remedy in ["such as \"10s\"", "such as \"64MiB\"", "{ file = \"FILE\" }"] {
        assert!(said.contains(remedy), "no {remedy} in\n{said}");
    }
    // Of an address that is none it does not follow that the behavior names the wrong origin.
    let address = "[listen]\nhttp = [\"127.0.0.1:80\"]\n[[distribution]]\nid = \"E1\"\nhosts = [\"*\"]\n\
        [[distribution.origin]]\nid = \"o\"\nurl = \"htp://127.0.0.1:1\"\n\
        [[distribution.behavior]]\npath = \"*\"\norigin = \"o\"\n";
    std::fs::write(&path, address).unwrap();
    let said = check(path.to_str().unwrap());
    assert!(said.contains("the scheme is not one of"), "{said}");
    assert!(said.contains("1 problem; nothing was loaded"), "{said}");
    // Of a file that is not there nothing else is wrong.
    let said = check("/nowhere/edge.toml");
    assert!(said.contains("cannot be read"), "{said}");
    assert!(said.contains("1 problem; nothing was loaded"), "{said}");
}

#[cfg(feature = "acme")]
#[test]
fn what_is_wrong_with_an_ordered_certificate_is_said_at_once() {
    let text = r#"
[listen]
http = ["127.0.0.1:80"]

[[certificate]]
chain = "x.pem"
[certificate.acme]
names = ["www.example.com", "*.example.com", "192.0.2.1", "www.example.com"]
directory = "http://ca.test/dir"
accept_terms = false
contact = ["operations@example.com"]
challenge = "http-01"
dns_command = ["x"]
key = "rsa-1024"
orderer = "edge-1"
folder = "shared"
window = 1
eab = { kid = "k" }
"#;
    expect(
        text,
        &[
            ("broken.toml:", "either ordered (acme) or in files"),
            ("broken.toml:8:", "\"192.0.2.1\" is no name that a CA issues for"),
            ("broken.toml:8:", "\"www.example.com\" stands twice"),
            ("broken.toml:9:", "https URL"),
            ("broken.toml:10:", "no CA issues without agreement"),
            ("broken.toml:11:", "is no contact"),
            ("broken.toml:12:", "a wildcard can be proved in DNS only"),
            ("broken.toml:13:", "dns_command is for"),
            ("broken.toml:14:", "\"rsa-1024\" is not known"),
            ("broken.toml:15:", "an orderer is a member of a fleet"),
            ("broken.toml:17:", "window"),
            ("broken.toml:18:", "hmac is missing"),
        ],
    );
    let missing = "[listen]\nhttp = [\"127.0.0.1:80\"]\n[[certificate]]\n[certificate.acme]\nca = \"system\"\n";
    expect(
        missing,
        &[
            ("broken.toml:", "certificate.acme.names is missing"),
            ("broken.toml:", "certificate.acme.accept_terms is missing"),
            ("broken.toml:", "certificate.acme.challenge is missing"),
        ],
    );
}

#[test]
fn what_is_wrong_with_code_is_said_before_it_runs() {
    let text = r#"
[listen]
http = ["127.0.0.1:80"]

[functions]
stop = "5s"

[function.a]
file = "missing.js"

[function."b c"]
file = "missing.js"
runtime = "cloudfront-js-1.0"
store = "flags"

[lambda.slow]
code = "."
handler = "index.handler"
runtime = "nodejs20.x"
timeout = "20s"
memory = "512MiB"

[lambda.a]
code = "."
handler = "index"
runtime = "java21"

[origin_names]
"*.*.test" = "http://127.0.0.1:1"

[[distribution]]
id = "E1"
hosts = ["a.test"]

[[distribution.origin]]
id = "app"
url = "https://app.test"

[[distribution.behavior]]
path = "/a/*"
origin = "app"
functions = { viewer_request = "slow", viewer_response = "slo", body = ["origin_request"] }

[[distribution.behavior]]
path = "*"
origin = "app"
functions = { origin_request = "slow", body = ["origin_request"] }
"#;
    let found = expect(
        text,
        &[
            ("broken.toml:6:", "functions.stop lies outside 1ms to 999ms"),
            ("broken.toml:9:", "the code missing.js cannot be read"),
            ("broken.toml:11:", "\"b c\" is no name of a function"),
            ("broken.toml:14:", "cloudfront-js-1.0 has no key value store"),
            ("broken.toml:14:", "there is no key value store \"flags\""),
            ("broken.toml:23:", "two functions or lambdas with the name \"a\""),
            ("broken.toml:25:", "index.handler"),
            ("broken.toml:26:", "python3.9"),
            ("broken.toml:29:", "one * is enough"),
            ("broken.toml:42:", "maximum of 5 seconds"),
            ("broken.toml:42:", "maximum of 128 MB"),
            ("broken.toml:42:", "there is no function or lambda \"slo\" (did you mean \"slow\"?)"),
            ("broken.toml:42:", "\"origin_request\" is no event with a lambda"),
        ],
    );
    assert!(!found.iter().any(|line| line.starts_with("broken.toml:47:")), "{found:?}");
}

#[test]
fn the_api_and_what_belongs_to_it_are_held_to_their_rules() {
    let text = r#"
[listen]
http = ["127.0.0.1:80"]

[api]
domain = "*.example.com"
certificates = "all"

[metrics]
by = "path"

[admin]
account = "12"

[[admin.access_key]]
id = "A"
secret = { env = "PATH" }
allow = ["cloudfront:Get*", "cloudfront:CreateCachePolicy", "cloudfront:Frob*", "s3:GetObject"]

[[distribution]]
id = "E1"
hosts = ["a.test"]
enabled = "no"
tags = { team = { x = "y" } }

[[distribution.origin]]
id = "app"
url = "http://app.test"

[[distribution.behavior]]
path = "*"
origin = "app"
compress = "none"
"#;
    let found = expect(
        text,
        &[
            ("broken.toml:6:", "api.domain"),
            ("broken.toml:7:", "api.certificates = \"all\" is not known"),
            ("broken.toml:10:", "metrics.by = \"path\" is not known"),
            ("broken.toml:13:", "an account has twelve digits"),
            ("broken.toml:18:", "\"cloudfront:Frob*\" is no action here"),
            ("broken.toml:18:", "\"s3:GetObject\" is no action here"),
            ("broken.toml:23:", "distribution.enabled is a string"),
            ("broken.toml:24:", "the tag \"team\" is a table"),
            ("broken.toml:33:", "compress = \"none\" is not known"),
        ],
    );
    assert_eq!(found.len(), 9, "{}", found.join("\n"));
    // An edge that the API manages may begin with nothing.
    let none = "[listen]\nhttp = [\"127.0.0.1:80\"]\n";
    expect(none, &[("broken.toml:1:", "there is no [[distribution]]")]);
    assert_eq!(problems(&format!("{none}[api]\n")), Vec::<String>::new());
}

// One mistake is one problem: a key that is there and wrong is not missing, too.
#[test]
fn what_is_wrong_is_not_said_to_be_missing() {
    let text = r#"
[listen]
http = ["127.0.0.1:80"]

[[distribution]]
id = "E1"
hosts = ["a.test"]
client_certificates = { mode = "needed", trust_store = 3 }

[[distribution.origin]]
id = "app"
url = "http://app.test"

[[distribution.behavior]]
path = "*"
origin = "app"
"#;
    let found = expect(
        text,
        &[
            ("broken.toml:8:", "client_certificates.mode = \"needed\" is not known"),
            ("broken.toml:8:", "client_certificates.trust_store is a number"),
        ],
    );
    assert_eq!(found.len(), 2, "{found:#?}");
}

// What several distributions name has to be there, once; a mistake in it is not one of theirs.
#[test]
fn trust_stores_and_client_certificates_are_named_by_what_is_there() {
    let text = r#"
[trust_store.partner]
file = "missing.pem"

[client_certificate.half]
chain = "missing.pem"

[listen]
http = ["127.0.0.1:80"]

[[distribution]]
id = "E1"
hosts = ["a.test"]
client_certificates = { mode = "optional", trust_store_id = "partners" }

[[distribution.origin]]
id = "app"
url = "https://app.test"
tls = { certificate_id = "half", chain = "c.pem", key = "c.key" }

[[distribution.origin]]
id = "other"
url = "https://app.test"
tls = { certificate_id = "none" }

[[distribution.behavior]]
path = "*"
origin = "app"
"#;
    let found = expect(
        text,
        &[
            ("broken.toml:3:", "missing.pem"),
            ("broken.toml:", "client_certificate.NAME.key is missing"),
            ("broken.toml:14:", "there is no trust store \"partners\""),
            ("broken.toml:19:", "not of both"),
            ("broken.toml:24:", "there is no client certificate \"none\""),
        ],
    );
    assert_eq!(found.len(), 5, "{found:#?}");
}

#[test]
fn http_version_is_one_of_two_and_not_for_folders() {
    let text = r#"
[listen]
http = ["127.0.0.1:80"]

[[distribution]]
id = "E1"
hosts = ["a.test"]

[[distribution.origin]]
id = "app"
url = "https://app.test"
http_version = "http3"

[[distribution.origin]]
id = "files"
url = "file:."
http_version = "http2"

[[distribution.behavior]]
path = "*"
origin = "app"
"#;
    expect(
        text,
        &[
            ("broken.toml:12:", "http_version = \"http3\" is not known"),
            ("broken.toml:17:", "http_version is of no meaning for a folder"),
        ],
    );
}

#[test]
fn calls_of_grpc_need_post_and_origins_over_http2() {
    let text = r#"
[listen]
http = ["127.0.0.1:80"]

[[distribution]]
id = "E1"
hosts = ["a.test"]

[[distribution.origin]]
id = "old"
url = "https://old.test"

[[distribution.origin]]
id = "new"
url = "https://new.test"
http_version = "http2"

[[distribution.origin]]
id = "files"
url = "file:."

[[distribution.origin_group]]
id = "both"
members = ["new", "old"]

[[distribution.behavior]]
path = "/a.B/*"
origin = "both"
methods = "all"
grpc = true

[[distribution.behavior]]
path = "/c.D/*"
origin = "new"
grpc = true

[[distribution.behavior]]
path = "/e.F/*"
origin = "files"
methods = "all"
grpc = true

[[distribution.behavior]]
path = "/g.H/*"
origin = "old"
grpc = false

[[distribution.behavior]]
path = "*"
origin = "new"
grpc = "yes"

[[distribution]]
id = "E2"
hosts = ["b.test"]

[[distribution.origin]]
id = "either"
url = "https://either.test"
http_version = "http2"
match_viewer = true

[[distribution.behavior]]
path = "*"
origin = "either"
methods = "all"
grpc = true
"#;
    expect(
        text,
        &[
            ("broken.toml:30:", "origin \"old\" is asked over HTTP/1.1"),
            ("broken.toml:35:", "does not allow POST"),
            ("broken.toml:41:", "origin \"files\" is a folder"),
            ("broken.toml:51:", "grpc is a string"),
            ("broken.toml:67:", "origin \"either\" has match_viewer"),
        ],
    );
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
fn realtime_logs_that_nobody_could_tell_apart_are_named() {
    let text = r#"
[log]
access = "one.log"
realtime = { file = "two.log" }
realtime_config.shop = { file = "two.log", behaviors = "all" }
realtime_config.cart = { file = "one.log" }
[[distribution]]
id = "E1"
hosts = ["*"]
[[distribution.origin]]
id = "o"
url = "https://app.test"
[[distribution.behavior]]
path = "/shop/*"
origin = "o"
realtime_config = "shopp"
[[distribution.behavior]]
path = "*"
origin = "o"
realtime_log = true
realtime_config = "cart"
"#;
    expect(
        text,
        &[
            ("broken.toml:5:", "file = \"two.log\": a log has a file of its own"),
            ("broken.toml:5:", "behaviors"),
            ("broken.toml:6:", "file = \"one.log\": a log has a file of its own"),
            ("broken.toml:16:", "realtime_config = \"shopp\": there is no such real-time log"),
            ("broken.toml:16:", "did you mean \"shop\"?"),
            ("broken.toml:21:", "realtime_config names another log"),
        ],
    );
}

#[test]
fn what_is_wrong_with_field_encryption_is_said_at_once() {
    let key = |name: &str| root().join("tests/vectors").join(name);
    let (rsa, ec) = (key("rsa2048-public.pem"), key("ecdsa-p256-public.pem"));
    let text = format!(
        r#"
[listen]
http = ["127.0.0.1:80"]
[[public_key]]
id = "KRSA"
file = {rsa:?}
name = ""
[[public_key]]
id = "KEC"
file = {ec:?}
[[field_encryption_profile.a.fields]]
provider = ""
key = "KEC"
patterns = ["card*", "card1", "a b"]
[[field_encryption_profile.a.fields]]
key = "KNONE"
key_name = "x"
[field_encryption.c]
suite = "0x0578"
profile = "b"
profiles = {{ x = "none" }}
unknown_type = "drop"
[[distribution]]
id = "E1"
hosts = ["*"]
[[distribution.origin]]
id = "o"
url = "https://app.test"
[[distribution.behavior]]
path = "*"
origin = "o"
field_encryption = "d"
cache_post = {{}}
"#
    );
    expect(
        &text,
        &[
            ("broken.toml:7:", "a key's name has 1 to 255 octets"),
            ("broken.toml:12:", "a provider has 1 to 255 octets"),
            ("broken.toml:13:", "field-level encryption takes RSA keys"),
            ("broken.toml:14:", "\"card1\" and \"card*\" take in the same names"),
            ("broken.toml:14:", "\"a b\" is no pattern of field names"),
            ("broken.toml:", "fields.provider is missing"),
            ("broken.toml:", "fields.patterns is missing"),
            ("broken.toml:16:", "there is no public key \"KNONE\""),
            ("broken.toml:17:", "key_name is not a known key"),
            ("broken.toml:19:", "suite = \"0x0578\" is not known"),
            ("broken.toml:20:", "there is no field encryption profile \"b\""),
            ("broken.toml:21:", "there is no field encryption profile \"none\""),
            ("broken.toml:22:", "unknown_type = \"drop\" is not known"),
            ("broken.toml:32:", "there is no field encryption \"d\""),
            ("broken.toml:32:", "does not allow POST"),
            ("broken.toml:32:", "field_encryption beside cache_post"),
        ],
    );
}

#[test]
fn a_tier_that_makes_no_sense_is_named() {
    let whole = |tier: &str| {
        format!(
            "[listen]\nhttp = [\"127.0.0.1:1\"]\n[[distribution]]\nid = \"E1\"\nhosts = [\"*\"]\n\
             [[distribution.origin]]\nid = \"o\"\nurl = \"https://app.test\"\n\
             [fleet]\nname = \"f\"\nmember = \"a\"\nsequencer = \"here\"\n[tier]\n{tier}\n"
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
        ("kind = \"redis\"\nurls = [\"redis://a\"]\nread = \"replica\"", "names no replica"),
        (
            "kind = \"memcached\"\nurls = [\"memcached://a\"]\nread = \"replica\"",
            "memcached has no replicas",
        ),
        (
            "kind = \"redis\"\nurls = [\"rediss://a\"]\nauth = { iam = { user = \"u\", region = \"r\" } }",
            "tier.auth.iam.cache is missing",
        ),
        (
            "kind = \"redis\"\nurls = [\"redis://a\"]\nauth = { iam = {} }",
            "IAM passwords only over TLS",
        ),
        (
            "kind = \"redis\"\nurls = [\"rediss://a\"]\nauth = { user = \"u\", iam = {} }",
            "do not stand beside it",
        ),
        (
            "kind = \"memcached\"\nurls = [\"memcacheds://a\"]\nauth = { iam = {} }",
            "for Redis and Valkey alone",
        ),
    ];
    for (tier, words) in table {
        let found = expect(&whole(tier), &[("broken.toml:", words)]);
        assert!(!found.iter().any(|said| said.contains("pw")), "{}", found.join("\n"));
    }
    let good = "kind = \"redis\"\nurls = [\"redis://a\", \"redis://[::1]:1\"]\nmode = \"cluster\"";
    assert_eq!(problems(&whole(good)), Vec::<String>::new());
    let reads = "kind = \"redis\"\nurls = [\"redis://a\", \"redis://b\"]\nread = \"replica\"";
    assert_eq!(problems(&whole(reads)), Vec::<String>::new());
    let alone =
        whole(good).replace("[fleet]\nname = \"f\"\nmember = \"a\"\nsequencer = \"here\"\n", "");
    expect(&alone, &[("broken.toml:", "[tier] without [fleet]")]);
}

#[test]
fn parents_that_make_no_sense_are_named() {
    let text = r#"
[region]
kind = "parent"
edge_id = "e1"
token = { env = "PATH" }
own_url = "https://two.test"
[[region.parent]]
url = "https://one.test"
admin = "https://one.test"
weight = 1001
[[region.parent]]
url = "https://two.test"
admin = "https://two.test"
weight = 0
[[region.parent]]
url = "https://two.test:443"
admin = "https://two.test:9081"
[region.health]
timeout = "0s"
healthy_after = 0
[region.ejection]
first = "1m"
longest = "30s"
most = 101
failure = 1
[[distribution]]
id = "E1"
hosts = ["*"]
[[distribution.origin]]
id = "o"
url = "https://app.test"
shield = "https://three.test"
"#;
    expect(
        text,
        &[
            ("broken.toml:6:", "a node is no parent of its own"),
            ("broken.toml:32:", "the shield https://three.test:443 is no parent of this node"),
            ("broken.toml:10:", "region.parent.weight lies outside 0 to 1000"),
            ("broken.toml:16:", "this parent is listed twice"),
            ("broken.toml:19:", "timeout is zero"),
            ("broken.toml:20:", "region.health.healthy_after lies outside 1 to 1000"),
            ("broken.toml:23:", "region.ejection.longest is shorter than first"),
            ("broken.toml:24:", "region.ejection.most lies outside 0 to 100"),
            ("broken.toml:25:", "did you mean \"failures\"?"),
        ],
    );
    let spares = text.replace("1001", "0").replace("two.test:443\"", "three.test\"\nweight = 0");
    expect(&spares, &[("broken.toml:", "every parent has the weight 0")]);
}

#[test]
fn certificates_of_edges_that_nobody_would_see_are_named() {
    let text = r#"
[listen]
http = ["127.0.0.1:1"]
client_ca = "none.pem"
[[trusted_edge]]
id = "e1"
token = { env = "PATH" }
client_san = "edge-1.internal"
[region]
kind = "parent"
edge_id = "e1"
token = { env = "PATH" }
identity = { chain = "none.pem" }
[[region.parent]]
url = "https://one.test"
admin = "https://one.test"
[[distribution]]
id = "E1"
hosts = ["*"]
[[distribution.origin]]
id = "o"
url = "https://app.test"
"#;
    expect(
        text,
        &[
            ("broken.toml:4:", "none.pem: "),
            ("broken.toml:8:", "no certificate is asked for"),
            ("broken.toml:8:", "where no certificate is seen"),
            ("broken.toml:13:", "a client certificate needs both chain and key"),
        ],
    );
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

// What is said of a fleet, and the tables that every configuration needs beside it.
fn in_a_fleet(fleet: &str) -> String {
    format!(
        "{fleet}\n[listen]\nhttp = [\"127.0.0.1:1\"]\n[[distribution]]\nid = \"E1\"\nhosts = [\"*\"]\n\
         [[distribution.origin]]\nid = \"o\"\nurl = \"https://app.test\"\n"
    )
}

fn loaded(folder: &Path, text: &str) -> std::sync::Arc<Site> {
    std::fs::write(folder.join("token"), "let-me").unwrap();
    let path = folder.join("edge.toml");
    std::fs::write(&path, text).unwrap();
    config::load(&path, NOW, MissingCertificates::Done)
        .unwrap_or_else(|report| panic!("{}", report.render(false)))
        .site
}

const OWN_PARENT: &str = "[fleet.parent]\nadmin = \"https://p.test\"\nedge_id = \"e\"\ntoken = { file = \"token\" }\nserver_name = \"q.test\"";
const REGION: &str = "[region]\nkind = \"parent\"\nedge_id = \"edge-7\"\ntoken = { file = \"token\" }\n\
    [[region.parent]]\nurl = \"https://a.test\"\nadmin = \"https://a.test:9080\"\n\
    [[region.parent]]\nurl = \"https://b.test\"\nadmin = \"https://b.test:9080\"";
const TRUSTED: &str = "[[trusted_edge]]\nid = \"edge-7\"\ntoken = { file = \"token\" }";

#[test]
fn a_fleet_is_what_it_says_or_what_stands_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = |text: &str| {
        let site = loaded(folder.path(), &in_a_fleet(text));
        (site.fleet.clone().expect("there is a [fleet]"), site.warnings.clone())
    };
    assert!(loaded(folder.path(), &in_a_fleet("")).fleet.is_none());
    // Nothing but what must be said, under the first parent of the region.
    let short = format!("[fleet]\nname = \"shop\"\nsequencer = \"parent\"\n{REGION}");
    let (under, warnings) = fleet(&short);
    assert_eq!((under.name.as_str(), under.member.as_str()), ("shop", "edge-7"));
    assert_eq!((under.prefer, under.lease), (Prefer::Freshness, Duration::from_secs(10)));
    assert_eq!(under.wait, Duration::from_millis(13_206));
    assert_eq!(under.sequencer.to_string(), "https://a.test:9080");
    assert!(warnings.is_empty(), "{warnings:?}");
    // All of it, and a parent of its own, which is asked for nothing else.
    let long = "[fleet]\nname = \"shop\"\nmember = \"e\"\nsequencer = \"parent\"\nprefer = \"availability\"\nlease = \"2s\"\nwait = \"0s\"";
    let (apart, warnings) = fleet(&format!("{long}\n{OWN_PARENT}\n{REGION}"));
    let SequencerAt::Parent(parent) = &apart.sequencer else { panic!("it asks a parent") };
    assert_eq!(
        (parent.admin.to_string().as_str(), parent.edge_id.as_str()),
        ("https://p.test:9080", "e")
    );
    assert_eq!(parent.tls.server_name.as_deref(), Some("q.test"));
    assert_eq!((apart.member.as_str(), apart.prefer), ("e", Prefer::Availability));
    assert_eq!((apart.lease, apart.wait), (Duration::from_secs(2), Duration::ZERO));
    assert!(warnings.is_empty(), "{warnings:?}");
    // The parent itself, which may have parents of its own.
    let here = "[fleet]\nname = \"shop\"\nmember = \"p\"\nsequencer = \"here\"\nlease = \"5m\"";
    let (alone, warnings) = fleet(here);
    assert_eq!(
        (alone.sequencer.to_string().as_str(), alone.wait),
        ("here", Duration::from_secs(60))
    );
    let said = |words: &str| warnings.iter().filter(|line| line.contains(words)).count();
    assert_eq!(
        (said("no other edge can join"), said("is answered with InProgress"), warnings.len()),
        (1, 1, 2),
        "{warnings:?}"
    );
    let (_, warnings) =
        fleet(&format!("[fleet]\nname = \"shop\"\nsequencer = \"here\"\n{TRUSTED}\n{REGION}"));
    assert!(warnings.is_empty(), "{warnings:?}");
    // What a reload cannot change is told from what it does not change.
    assert!(under.is_like(&fleet(&short).0));
    let others = [
        short.replace("shop", "shops"),
        short.replace("edge-7", "edge-8"),
        short.replace("a.test:9080", "a.test:9081"),
        short.replace("sequencer = \"parent\"", "sequencer = \"here\""),
        short.replace("[region]\n", "lease = \"9s\"\n[region]\n"),
        short.replace("[region]\n", "prefer = \"availability\"\n[region]\n"),
    ];
    for other in others {
        assert!(!under.is_like(&fleet(&other).0), "{other}");
    }
}

#[test]
fn members_share_ticket_keys_under_a_key_of_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("now", &"a1".repeat(32));
    write("before", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n");
    write("short", "c2hvcnQ=");
    let text = |lines: &str| {
        let fleet = "[fleet]\nname = \"shop\"\nmember = \"p\"\nsequencer = \"here\"";
        in_a_fleet(&format!("{fleet}\n{lines}\n{TRUSTED}"))
    };
    let fleet = |lines: &str| loaded(folder.path(), &text(lines)).fleet.clone().unwrap();
    let (now, before) =
        ("ticket_key = { file = \"now\" }", "ticket_key_before = { file = \"before\" }");
    let (none, one, both) = (fleet(""), fleet(now), fleet(&format!("{now}\n{before}")));
    assert!(none.tickets.is_none());
    let secrets = one.tickets.as_ref().unwrap();
    assert!(secrets.wraps.expose() == &[0xa1; 32] && secrets.before.is_none());
    let older = both.tickets.as_ref().unwrap().before.as_ref().unwrap();
    assert!(older.expose() == &[0; 32]);
    assert!(one.is_like(&fleet(now)) && both.is_like(&fleet(&format!("{before}\n{now}"))));
    assert!(!one.is_like(&none) && !one.is_like(&both) && !none.is_like(&one));
    for (lines, why) in [
        ("ticket_key = { file = \"short\" }", "fleet.ticket_key cannot be used: it has 5 octets"),
        ("ticket_key = { file = \"token\" }", "fleet.ticket_key cannot be used: it is neither"),
        (before, "fleet.ticket_key is missing"),
    ] {
        let path = folder.path().join("edge.toml");
        std::fs::write(&path, text(lines)).unwrap();
        let Err(report) = config::load(&path, NOW, MissingCertificates::Done) else {
            panic!("{lines}")
        };
        let said = report.render(false);
        assert!(said.contains(why) && !said.contains("c2hvcnQ"), "{said}");
    }
}

#[test]
fn mistakes_of_a_fleet_are_named() {
    let text = in_a_fleet(
        r#"
[fleet]
name = "The Shop"
member = ""
sequencer = "tear"
prefer = "freshnes"
lease = "500ms"
wait = "2m"
leases = "1s"
[fleet.parent]
admin = "http://p.test"
edge = "e"
"#,
    );
    let found = expect(
        &text,
        &[
            ("broken.toml:3:", "fleet.name = \"The Shop\": a name has 1 to 64 of a-z"),
            ("broken.toml:4:", "fleet.member = \"\": a name has"),
            ("broken.toml:5:", "known: \"here\", \"parent\", \"tier\""),
            ("broken.toml:6:", "is not known (one of \"freshness\", \"availability\")"),
            ("broken.toml:7:", "fleet.lease lies outside 1s to 300s"),
            ("broken.toml:8:", "fleet.wait lies outside 0s to 60s"),
            ("broken.toml:9:", "did you mean \"lease\"?"),
            ("broken.toml:10:", "fleet.parent.edge_id is missing"),
            ("broken.toml:10:", "fleet.parent.token is missing"),
            ("broken.toml:11:", "in clear text; use https"),
            ("broken.toml:12:", "fleet.parent.edge is not a known key"),
        ],
    );
    assert_eq!(found.len(), 11, "{}", found.join("\n"));
    let found = expect(
        &in_a_fleet("[fleet]"),
        &[
            ("broken.toml:1:", "fleet.name is missing"),
            ("broken.toml:1:", "fleet.member is missing"),
            ("broken.toml:1:", "fleet.sequencer is missing"),
        ],
    );
    assert_eq!(found.len(), 3, "{}", found.join("\n"));
    let orphan = "[fleet]\nname = \"a\"\nmember = \"b\"\nsequencer = \"parent\"";
    let found = expect(&in_a_fleet(orphan), &[("broken.toml:1:", "no parent is named")]);
    assert_eq!(found.len(), 1, "{}", found.join("\n"));
    // Only Redis orders records.
    let shared = "[fleet]\nname = \"a\"\nmember = \"b\"\nsequencer = \"tier\"\n";
    let memcached = "[tier]\nkind = \"memcached\"\nurls = [\"memcached://127.0.0.1:1\"]\n";
    for tier in ["", memcached] {
        let found = expect(
            &in_a_fleet(&format!("{shared}{tier}")),
            &[("broken.toml:", "needs a [tier] of the kind \"redis\"")],
        );
        assert_eq!(found.len(), 1, "{}", found.join("\n"));
    }
    let redis = memcached.replace("memcached", "redis");
    let with_parent = format!("{shared}[fleet.parent]\nadmin = \"https://p.test\"\n{redis}");
    let found = expect(
        &in_a_fleet(&with_parent),
        &[("broken.toml:5:", "fleet.sequencer = \"tier\" asks no parent")],
    );
    assert_eq!(found.len(), 1, "{}", found.join("\n"));
    // A region that is broken is told of once.
    let broken = format!(
        "{}\n[region]\nkind = \"parent\"\nedge_id = \"e\"",
        orphan.replace("member = \"b\"\n", "")
    );
    let found = expect(&in_a_fleet(&broken), &[("broken.toml:", "region.token is missing")]);
    assert!(!found.iter().any(|said| said.contains("fleet")), "{}", found.join("\n"));
    // A member is to its sequencer what its edge is.
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "let-me").unwrap();
    let path = folder.path().join("edge.toml");
    std::fs::write(&path, in_a_fleet(&format!("{orphan}\n{REGION}"))).unwrap();
    let Err(report) = config::load(&path, NOW, MissingCertificates::Done) else {
        panic!("it has two names")
    };
    let said = report.render(false);
    assert!(said.contains("they have to be the same"), "{said}");
    let both = "[fleet]\nname = \"a\"\nmember = \"b\"\nsequencer = \"here\"\n[fleet.parent]\nadmin = \"https://p.test\"";
    let found = expect(&in_a_fleet(both), &[("broken.toml:5:", "asks no parent")]);
    assert_eq!(found.len(), 1, "{}", found.join("\n"));
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
    // `check` says them, and the configuration loads.
    let (code, out, err) = command(folder.path(), &["check", "--config", path.to_str().unwrap()]);
    assert_eq!((code, out.matches("warning: ").count()), (0, 3), "{out}{err}");
}

// They open here whatever is forwarded; a configuration that is to mean the same at CloudFront is
// told, and no ordinary one is.
#[test]
fn a_behavior_for_websockets_that_cloudfront_would_not_open_is_noted() {
    let behavior = |path: &str, more: &str| {
        format!("[[distribution.behavior]]\npath = {path:?}\norigin = \"o\"\n{more}\n")
    };
    let text = [
        "data = \"data\"\n[listen]\nhttp = [\"127.0.0.1:0\"]\n",
        "[origin_request_policy.half]\nheaders = [\"Sec-WebSocket-Key\"]\n",
        "[origin_request_policy.both]\nheaders = [\"Sec-WebSocket-*\"]\n",
        "[[distribution]]\nid = \"E1\"\nhosts = [\"*\"]\n[[distribution.origin]]\nid = \"o\"\nurl = \"https://app.test\"\n",
        &behavior("/ws/*", ""),
        &behavior("/socket.io/*", "origin_request_policy = \"AllViewer\""),
        &behavior("/both/ws", "origin_request_policy = \"both\""),
        &behavior("/half", "origin_request_policy = \"half\""),
        &behavior("*", ""),
    ]
    .concat();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edge.toml");
    std::fs::write(&path, text).unwrap();
    let site = config::load(&path, NOW, MissingCertificates::Done)
        .unwrap_or_else(|report| panic!("{}", report.render(false)))
        .site;
    let said: Vec<&String> =
        site.remarks.iter().filter(|line| line.contains("WebSockets open here")).collect();
    assert_eq!(said.len(), 2, "{said:#?}");
    let both = "sec-websocket-key and sec-websocket-version";
    assert!(said[0].contains("\"/ws/*\"") && said[0].contains(both), "{said:#?}");
    assert!(said[1].contains("\"/half\"") && !said[1].contains("sec-websocket-key"), "{said:#?}");
}

#[test]
fn calls_of_grpc_without_their_metadata_are_noted() {
    let behavior = |path: &str, more: &str| {
        format!(
            "[[distribution.behavior]]\npath = {path:?}\norigin = \"o\"\nmethods = \"all\"\ngrpc = true\n{more}\n"
        )
    };
    let text = [
        "data = \"data\"\n[listen]\nhttp = [\"127.0.0.1:0\"]\n",
        "[cache_policy.rfc]\nsemantics = \"rfc9111\"\n",
        "[[distribution]]\nid = \"E1\"\nhosts = [\"*\"]\n[[distribution.origin]]\nid = \"o\"\nurl = \"https://app.test\"\nhttp_version = \"http2\"\n",
        &behavior("/all/*", "origin_request_policy = \"AllViewerExceptHostHeader\""),
        &behavior("/rfc/*", "cache_policy = \"rfc\""),
        &behavior("*", ""),
    ]
    .concat();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edge.toml");
    std::fs::write(&path, text).unwrap();
    let site = config::load(&path, NOW, MissingCertificates::Done)
        .unwrap_or_else(|report| panic!("{}", report.render(false)))
        .site;
    let said: Vec<&String> =
        site.remarks.iter().filter(|line| line.contains("without their metadata")).collect();
    assert!(said.len() == 1 && said[0].contains("behavior \"*\""), "{said:#?}");
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
        &["fleet", "--help"],
        &["certs", "dev", "--help"],
        &["--version"],
    ] {
        let (code, out, _) = command(Path::new("/"), args);
        assert!(code == 0 && !out.is_empty(), "{args:?}");
    }
}

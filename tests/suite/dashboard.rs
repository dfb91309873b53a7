//! The dashboard and `foreshore top`: who is let in, what they are told, and that it is what
//! `/metrics` says.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use super::support::edge::{command, plain};
use super::support::origin::{after, answer, fresh};
use super::support::viewer::request;
use super::support::{Edge, Origin, eventually};

fn start() -> (Edge, Origin) {
    let origin = Origin::start(|asked| match asked.target.as_str() {
        "/missing" => answer(404, "Cache-Control: no-store", b""),
        "/slow" => after(2500, fresh(b"x")),
        _ => fresh(b"some octets"),
    });
    let config = plain(origin.address, "").replace("response = \"3s\"", "response = \"30s\"");
    (Edge::start(&config), origin)
}

fn connect(edge: &Edge, method: &str, path: &str, fields: &[&str], body: &str) -> TcpStream {
    let mut tcp = TcpStream::connect(edge.admin).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let (host, length) = (edge.admin, body.len());
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
    );
    tcp.write_all(head.as_bytes()).unwrap();
    tcp
}

// Status, head in small letters, and body of an answer.
fn ask(
    edge: &Edge,
    method: &str,
    path: &str,
    fields: &[&str],
    body: &str,
) -> (u16, String, String) {
    let mut all = String::new();
    let _ = connect(edge, method, path, fields, body).read_to_string(&mut all);
    let (head, body) = all.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {all:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    (status, head.to_ascii_lowercase(), body.to_string())
}

fn log_in(edge: &Edge, token: &str, fields: &[&str]) -> (u16, String, String) {
    let body = serde_json::json!({ "token": token }).to_string();
    ask(edge, "POST", "/v1/login", fields, &body)
}

// The Cookie field of somebody who has logged in.
fn cookie(edge: &Edge) -> String {
    let (status, head, _) = log_in(edge, &edge.token(), &[]);
    assert_eq!(status, 200, "{head}");
    let said = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    format!("Cookie: {}", said.split(';').next().unwrap())
}

fn snapshot(edge: &Edge) -> Value {
    let (status, body) = edge.admin("GET", "/v1/snapshot", "");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[test]
fn the_page_is_served_without_a_token_and_holds_nothing() {
    let (edge, _origin) = start();
    for (path, kind) in [
        ("/dashboard", "text/html"),
        ("/dashboard/app.js", "text/javascript"),
        ("/dashboard/app.css", "text/css"),
    ] {
        let (status, head, body) = ask(&edge, "GET", path, &[], "");
        assert_eq!(status, 200, "{path}");
        assert!(head.contains(&format!("content-type: {kind}")), "{head}");
        for policy in [
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:;",
            "frame-ancestors 'none'",
        ] {
            assert!(head.contains(policy), "{head}");
        }
        assert!(head.contains("x-content-type-options: nosniff"), "{head}");
        assert!(!body.contains(&edge.token()) && !body.contains("E1"), "{path}");
    }
    assert_eq!(ask(&edge, "GET", "/dashboard/other.js", &[], "").0, 404);
    for path in ["/v1/live", "/v1/snapshot", "/v1/status"] {
        assert_eq!(ask(&edge, "GET", path, &[], "").0, 401, "{path}");
    }
    assert_eq!(ask(&edge, "POST", "/v1/logout", &[], "").0, 401);
}

#[test]
fn a_session_may_what_the_token_may_from_the_dashboard_alone() {
    let (edge, _origin) = start();
    let (_, head, _) = log_in(&edge, &edge.token(), &[]);
    for word in ["httponly", "samesite=strict", "path=/v1/;", "max-age=43200"] {
        assert!(head.contains(word), "{head}");
    }
    assert!(!head.contains("secure"), "a browser would drop it over http: {head}");
    let cookie = cookie(&edge);
    let own = format!("Origin: http://{}", edge.admin);
    let dry = r#"{"paths":["/*"],"dry_run":true}"#;
    let purge = |fields: &[&str]| ask(&edge, "POST", "/v1/invalidations", fields, dry).0;
    assert_eq!(ask(&edge, "GET", "/v1/status", &[&cookie], "").0, 200);
    assert_eq!(
        ask(&edge, "GET", "/v1/status", &[&cookie, "Sec-Fetch-Site: cross-site"], "").0,
        403
    );
    assert_eq!(purge(&[&cookie, &own]), 200);
    assert_eq!(purge(&[&cookie, &own, "Sec-Fetch-Site: same-origin"]), 200);
    for foreign in
        ["X-None: 1", "Origin: http://evil.test", "Origin: null", "Origin: https://evil.test"]
    {
        assert_eq!(purge(&[&cookie, foreign]), 403, "{foreign}");
    }
    assert_eq!(purge(&[&cookie, &own, "Sec-Fetch-Site: same-site"]), 403);
    // The token itself needs none of that.
    let bearer = format!("Authorization: Bearer {}", edge.token());
    assert_eq!(purge(&[&bearer]), 200);
    // Not for calls that are made by edges or signed.
    assert_eq!(ask(&edge, "POST", "/v1/edge/invalidations", &[&cookie, &own], "{}").0, 401);
    for wrong in ["Cookie: foreshore-session=", "Cookie: foreshore-session=00", "Cookie: a=b"] {
        assert_eq!(ask(&edge, "GET", "/v1/status", &[wrong], "").0, 401, "{wrong}");
    }
    let (status, head, _) = ask(&edge, "POST", "/v1/logout", &[&cookie, &own], "");
    assert!(status == 200 && head.contains("max-age=0"), "{head}");
    assert_eq!(ask(&edge, "GET", "/v1/status", &[&cookie], "").0, 401);
    assert!(!edge.log().contains(&edge.token()));
}

#[test]
fn there_is_none_where_it_is_off() {
    let (edge, origin) = start();
    let kept = cookie(&edge);
    let off = plain(origin.address, "").replace("[admin]\n", "[admin]\ndashboard = \"off\"\n");
    std::fs::write(edge.path().join("edge.toml"), off).unwrap();
    assert_eq!(edge.admin("POST", "/v1/reload", "").0, 200);
    for (method, path) in
        [("GET", "/dashboard"), ("GET", "/dashboard/app.js"), ("POST", "/v1/login")]
    {
        let (status, _, body) = ask(&edge, method, path, &[], "{}");
        assert!(status == 404 && body.contains("admin.dashboard"), "{path}: {status} {body}");
    }
    assert_eq!(ask(&edge, "GET", "/v1/status", &[&kept], "").0, 401, "nor a session");
    // The command asks by the token.
    assert_eq!(edge.admin("GET", "/v1/snapshot", "").0, 200);
}

#[test]
fn who_guesses_the_token_waits() {
    let (edge, _origin) = start();
    assert_eq!(log_in(&edge, &edge.token(), &["Origin: http://evil.test"]).0, 403);
    for _ in 0..5 {
        assert_eq!(log_in(&edge, "wrong", &[]).0, 401);
    }
    let (status, head, body) = log_in(&edge, "wrong", &[]);
    assert!(status == 429 && head.contains("retry-after: "), "{head}");
    assert!(body.contains("wait a minute"), "{body}");
    assert_eq!(edge.metric("foreshore_logins_refused_total") as u64, 7);
    // Who has the token is not kept out by that, on this machine.
    assert_eq!(log_in(&edge, &edge.token(), &[]).0, 200);
    assert_eq!(edge.admin("GET", "/v1/status", "").0, 200);
    assert_eq!(ask(&edge, "POST", "/v1/login", &[], "nonsense").0, 400);
}

#[test]
fn who_guesses_a_bearer_token_waits_whatever_the_call() {
    let (edge, _origin) = start();
    let ask = |path: &str, token: &str| {
        ask(&edge, "GET", path, &[&format!("Authorization: Bearer {token}")], "")
    };
    for at in 0..20 {
        let path = ["/v1/status", "/metrics", "/v1/none", "/2020-05-31/distribution"][at % 4];
        let (status, head, _) = ask(path, "wrong");
        assert_ne!(status, 429, "{at} {path}: {head}");
    }
    for path in ["/v1/status", "/v1/none", "/2020-05-31/distribution"] {
        let (status, head, body) = ask(path, "wrong");
        assert!(status == 429 && head.contains("retry-after: "), "{path}: {head}");
        assert!(body.contains("too many wrong tokens"), "{body}");
    }
    assert_eq!(ask("/v1/status", &edge.token()).0, 200, "the operator on this machine");
    assert_eq!(edge.metric("foreshore_wrong_bearers_total") as u64, 23);
    // What bears none is no guess.
    assert_eq!(edge.admin("GET", "/healthz", "").0, 200);
    let told = || edge.log().matches("wrong bearer tokens within a minute").count();
    eventually("it is told", || told() > 0);
    assert_eq!(told(), 1, "once, not for each: {}", edge.log());
}

#[test]
fn what_is_told_is_what_the_metrics_say() {
    let (edge, _origin) = start();
    for path in ["/a", "/a", "/a", "/b", "/missing"] {
        edge.get(path);
    }
    eventually("all is counted", || edge.metric("foreshore_requests_total") as u64 == 5);
    let (_, metrics) = edge.admin("GET", "/metrics", "");
    let line = |name: &str, labels: &str| -> u64 {
        let start = format!("{name}{{{labels}}} ");
        let found = metrics.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok());
        found.unwrap_or_else(|| panic!("no {start}in\n{metrics}"))
    };
    // One that was composed before the last request is told for a second.
    eventually("the snapshot is of now", || snapshot(&edge)["total"]["requests"] == 5);
    let told = snapshot(&edge);
    let row =
        told["rows"].as_array().unwrap().iter().find(|row| row["distribution"] == "E1").unwrap();
    let labels = r#"distribution="E1",behavior="*""#;
    for outcome in ["hit", "refreshhit", "miss", "error", "redirect"] {
        let counted = line("foreshore_requests_total", &format!("{labels},outcome=\"{outcome}\""));
        assert_eq!(row["total"]["outcomes"][outcome].as_u64(), Some(counted), "{outcome}");
    }
    for class in 1..=5usize {
        let counted = line("foreshore_responses_total", &format!("{labels},class=\"{class}xx\""));
        assert_eq!(row["total"]["statuses"][class - 1].as_u64(), Some(counted), "{class}xx");
    }
    for (name, field) in [
        ("foreshore_body_bytes_total", "bytes"),
        ("foreshore_aborted_total", "aborted"),
        ("foreshore_origin_seconds_count", "origin_answers"),
    ] {
        assert_eq!(row["total"][field].as_u64(), Some(line(name, labels)), "{name}");
    }
    assert_eq!(
        (row["total"]["hits"].as_u64(), row["total"]["misses"].as_u64()),
        (Some(2), Some(2))
    );
    assert_eq!(
        told["store"]["objects"].as_u64(),
        Some(edge.metric("foreshore_store_objects") as u64)
    );
    let origin = &told["origins"][0];
    assert_eq!(
        (origin["distribution"].as_str(), origin["origin"].as_str()),
        (Some("E1"), Some("o"))
    );
}

// Pages ask each ten seconds: of ten thousand distributions they get what they show.
#[test]
fn the_state_is_told_as_long_as_it_is_wanted() {
    let origin = Origin::start(|_| fresh(b"x"));
    let address = origin.address;
    let more: String = (0..30)
        .map(|at| {
            format!(
                "[[distribution]]\nid = \"D{at}\"\nhosts = [\"d{at}.test\"]\n[[distribution.origin]]\nid = \"o\"\n\
                 url = \"http://{address}\"\n[[distribution.behavior]]\npath = \"*\"\norigin = \"o\"\n"
            )
        })
        .collect();
    let edge = Edge::start(&(plain(address, "") + &more));
    let status = |query: &str| -> Value {
        let (status, body) = edge.admin("GET", &format!("/v1/status{query}"), "");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    };
    let told = |query: &str| {
        let status = status(query);
        let distributions = status["distributions"].as_array().unwrap().len();
        (distributions, status["left"]["distributions"].as_u64().unwrap())
    };
    assert_eq!(told(""), (31, 0));
    assert_eq!(told("?most=31"), (31, 0));
    assert_eq!(told("?most=5"), (5, 26));
    assert_eq!(told("?most=0"), (0, 31));
    assert_eq!(edge.admin("GET", "/v1/status?most=some", "").0, 400);
    // It is what the page asks for.
    let (_, _, script) = ask(&edge, "GET", "/dashboard/app.js", &[], "");
    assert!(script.contains("/v1/status?most="), "the page asks for all of it");
}

#[test]
fn a_request_is_explained_as_the_command_explains_it() {
    let (edge, _origin) = start();
    let asked = r#"{"url":"http://h.test/a?x=1","answer":["Cache-Control: private"]}"#;
    let (status, body) = edge.admin("POST", "/v1/explain", asked);
    assert_eq!(status, 200, "{body}");
    let told: Value = serde_json::from_str(&body).unwrap();
    let args = ["explain", "http://h.test/a?x=1", "-A", "Cache-Control: private"];
    let (code, out, err) = command(edge.path(), &[&args[..], &["--config", "edge.toml"]].concat());
    assert_eq!((code, err.as_str(), told["story"].as_str()), (0, "", Some(out.as_str())));
    assert!(out.contains("not kept: private"), "{out}");
    for (body, words) in [
        (r#"{"url":"ftp://h.test/"}"#, "is not an http or https URL"),
        (r#"{"url":"http://h.test/","answer":["nonsense"]}"#, "is not `Name: value`"),
        (r#"{"url":"http://h.test/","status":100}"#, "200 to 599"),
        (r#"{"urls":[]}"#, "not as expected"),
    ] {
        let (status, said) = edge.admin("POST", "/v1/explain", body);
        assert!(status == 400 && said.contains(words), "{body}: {status} {said}");
    }
}

#[test]
fn urls_are_counted_while_somebody_looks_on_also_without_a_log() {
    for log in ["access.log", "off"] {
        let origin = Origin::start(|_| fresh(b"x"));
        let config = plain(origin.address, "").replace("\"access.log\"", &format!("{log:?}"));
        let edge = Edge::start(&config);
        // From the first look on.
        snapshot(&edge);
        for _ in 0..3 {
            edge.get("/img/a?x=1");
        }
        let counted = |told: &Value, key: &str| -> u64 {
            let all = told["top"]["requests"].as_array().unwrap().iter();
            let found = all.filter(|one| one["key"].as_str().unwrap().ends_with(key));
            found.map(|one| one["count"].as_u64().unwrap()).sum()
        };
        eventually("they are told", || counted(&snapshot(&edge), "/img/a") == 3);
        let told = snapshot(&edge);
        let is_hit = |line: &Value| {
            line["path"] == "/img/a" && line["query"] == "x=1" && line["result"] == "Hit"
        };
        assert!(told["tail"].as_array().unwrap().iter().any(is_hit), "{told}");
        assert_eq!(told["top"]["misses"].as_array().unwrap().len(), 1, "{told}");
        assert!(!edge.path().join("off").exists(), "no log is written");
    }
}

#[test]
fn events_come_once_a_second_and_end_with_the_drain() {
    let (mut edge, _origin) = start();
    edge.get("/a");
    let cookie = cookie(&edge);
    let mut lines = BufReader::new(connect(&edge, "GET", "/v1/live", &[&cookie], "")).lines();
    let mut next = |wanted: &str| -> String {
        loop {
            let line = lines.next().unwrap_or_else(|| panic!("no {wanted}")).unwrap();
            if let Some(rest) = line.strip_prefix(wanted) {
                return rest.to_string();
            }
        }
    };
    assert!(next("HTTP/1.1 ").starts_with("200"));
    assert_eq!(next("content-type: "), "text/event-stream");
    assert_eq!(next("event: "), "history");
    let history: Value = serde_json::from_str(&next("data: ")).unwrap();
    assert!(history.is_array());
    let mut last = 0;
    for _ in 0..3 {
        assert_eq!(next("event: "), "now");
        let told: Value = serde_json::from_str(&next("data: ")).unwrap();
        let at = told["at"].as_u64().unwrap();
        assert!(at > last, "each is a new one");
        last = at;
        assert_eq!(told["draining"], false);
    }
    assert_eq!(edge.metric("foreshore_live_streams") as u64, 1);
    // A request under way keeps the edge until the stream has said that it ends.
    let mut viewer = edge.viewer();
    viewer.send(&request("GET", "/slow", &[]));
    eventually("it is under way", || edge.metric("foreshore_fills") as u64 == 1);
    edge.signal(rustix::process::Signal::TERM);
    while next("event: ") != "end" {}
    assert_eq!(viewer.read("GET").unwrap().text(), "x");
    assert!(edge.wait());
}

// Reads at most so many events of a stream, and says whether it has ended with them.
fn ends(stream: TcpStream, most: usize) -> bool {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let events = lines.filter(|line| line.starts_with("event: ")).take(most);
    events.last().is_some_and(|last| last == "event: end")
}

#[test]
fn events_end_with_the_session_that_opened_them() {
    let (edge, origin) = start();
    let (one, other) = (cookie(&edge), cookie(&edge));
    let bearer = format!("Authorization: Bearer {}", edge.token());
    let own = format!("Origin: http://{}", edge.admin);
    let open = |field: &str| {
        let mut tcp = connect(&edge, "GET", "/v1/live", &[field], "");
        let mut start = [0; 12];
        tcp.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"HTTP/1.1 200", "{field}");
        tcp
    };
    let (first, second, third) = (open(&one), open(&other), open(&bearer));
    assert_eq!(ask(&edge, "POST", "/v1/logout", &[&one, &own], "").0, 200);
    // Within a second; sixty events would be a minute.
    assert!(ends(first, 60), "its session was ended");
    eventually("two go on", || edge.metric("foreshore_live_streams") as u64 == 2);
    let off = plain(origin.address, "").replace("[admin]\n", "[admin]\ndashboard = \"off\"\n");
    std::fs::write(edge.path().join("edge.toml"), off).unwrap();
    assert_eq!(edge.admin("POST", "/v1/reload", "").0, 200);
    assert!(ends(second, 60), "there are no sessions any more");
    assert!(!ends(third, 6), "the token needs none");
}

#[test]
fn so_many_may_listen_and_no_more() {
    let (edge, _origin) = start();
    let bearer = format!("Authorization: Bearer {}", edge.token());
    let mut open: Vec<TcpStream> = Vec::new();
    for _ in 0..64 {
        let mut tcp = connect(&edge, "GET", "/v1/live", &[&bearer], "");
        let mut start = [0; 12];
        tcp.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"HTTP/1.1 200");
        open.push(tcp);
    }
    let (status, head, body) = ask(&edge, "GET", "/v1/live", &[&bearer], "");
    assert!(status == 503 && head.contains("retry-after: "), "{head}");
    assert!(body.contains("/v1/snapshot"), "{body}");
    drop(open);
    eventually("places are free again", || edge.metric("foreshore_live_streams") as u64 == 0);
}

#[test]
fn top_prints_one_snapshot_and_ends() {
    let (edge, _origin) = start();
    snapshot(&edge);
    for path in ["/a", "/a", "/missing"] {
        edge.get(path);
    }
    let of = |told: &Value| told["top"]["lines"].as_u64();
    eventually("they are told", || of(&snapshot(&edge)) >= Some(3));
    let (admin, token) = (edge.admin.to_string(), edge.path().join("data/admin-token"));
    let door = ["--admin", &admin, "--token-file", token.to_str().unwrap()];
    let run = |more: &[&str]| {
        let args: Vec<&str> = ["top"].iter().chain(more).chain(&door).copied().collect();
        command(edge.path(), &args)
    };
    // Its output is a pipe, so it is as with --once.
    for more in [&["--once"][..], &[]] {
        let (code, out, err) = run(more);
        assert_eq!((code, err.as_str()), (0, ""));
        for words in
            ["foreshore ", "3 requests", "behavior", "E1 *", "URLs by requests", "/a ", "404 "]
        {
            assert!(out.contains(words), "no {words:?} in\n{out}");
        }
        assert!(!out.contains('\u{1b}'), "{out}");
    }
    let (code, out, _) = run(&["--once", "--json"]);
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, told["total"]["requests"].as_u64()), (0, Some(3)));
    let (code, _, err) = command(
        edge.path(),
        &["top", "--once", "--admin", "127.0.0.1:1", "--token-file", token.to_str().unwrap()],
    );
    assert!(code == 1 && err.contains("is the edge running"), "{err}");
}

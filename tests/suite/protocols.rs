//! One table over HTTP/1.1, HTTP/2 and HTTP/3: code at the edge, uploads, refusals and encrypted
//! forms are the same whichever a viewer speaks.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use foreshore::listen::h3::frame::kind;

use super::forms;
use super::support::edge::{certificates, plain};
use super::support::frames::{self, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, block, frame};
use super::support::origin::answer;
use super::support::quic::{self, Quic, framed, headers};
use super::support::tool::{self, Tool};
use super::support::viewer::request;
use super::support::{Edge, Origin, Viewer};

/// A protocol that viewers speak.
#[derive(Clone, Copy, Debug)]
enum Speaks {
    Http1,
    Http2,
    Http3,
}

const ALL: [Speaks; 3] = [Speaks::Http1, Speaks::Http2, Speaks::Http3];

/// What is asked.
struct Asking<'a> {
    method: &'a str,
    path: &'a str,
    /// The type of the body, if there is one.
    kind: &'a str,
    body: &'a [u8],
}

/// What is answered: the status, the field that was asked about, the body.
type Said = (u16, Option<String>, Vec<u8>);

impl Asking<'_> {
    fn over(&self, speaks: Speaks, to: SocketAddr, ca: &Path, wanted: &str) -> Said {
        let length = self.body.len().to_string();
        let all = [("content-type", self.kind), ("content-length", length.as_str())];
        let more: &[(&str, &str)] = if self.body.is_empty() { &[] } else { &all };
        match speaks {
            Speaks::Http1 => self.over_http1(to, ca, more, wanted),
            Speaks::Http2 => self.over_http2(to, ca, more, wanted),
            Speaks::Http3 => self.over_http3(to, ca, more, wanted),
        }
    }

    fn over_http1(&self, to: SocketAddr, ca: &Path, more: &[(&str, &str)], wanted: &str) -> Said {
        let lines: Vec<String> =
            more.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let mut viewer = Viewer::connect_tls(to, "h.test", ca).unwrap();
        viewer.send(&[&request(self.method, self.path, &lines)[..], self.body].concat());
        let seen = viewer.read(self.method).expect("an answer");
        (seen.status, seen.field(wanted), seen.body)
    }

    fn over_http2(&self, to: SocketAddr, ca: &Path, more: &[(&str, &str)], wanted: &str) -> Said {
        let mut viewer = Frames::connect(to, ca, &[]);
        let head = block(&frames::fields(self.method, self.path, more));
        let end = if self.body.is_empty() { END_STREAM } else { 0 };
        viewer.send(&frame(HEADERS, END_HEADERS | end, 1, &head));
        let mut pieces = self.body.chunks(16_000).peekable();
        while let Some(piece) = pieces.next() {
            let end = if pieces.peek().is_none() { END_STREAM } else { 0 };
            viewer.send(&frame(DATA, end, 1, piece));
        }
        let answer = viewer.answer(1);
        let status = answer.statuses().pop().expect("an answer");
        (status.parse().unwrap(), answer.field(wanted), answer.body)
    }

    fn over_http3(&self, to: SocketAddr, ca: &Path, more: &[(&str, &str)], wanted: &str) -> Said {
        let mut viewer = Quic::begin(to, ca);
        let head = headers(&quic::fields(self.method, self.path, more));
        let id = viewer.request(&head, self.body.is_empty());
        if !self.body.is_empty() {
            viewer.say(id, &framed(kind::DATA, self.body), true);
        }
        let answer = viewer.answer(id);
        let field = answer.field(wanted).map(str::to_string);
        (answer.status().parse().unwrap(), field, answer.body)
    }
}

// An edge that speaks all three; `more` stands before its distribution, `first` before its behavior
// for all paths.
fn edge_with(
    folder: Arc<tempfile::TempDir>,
    origin: SocketAddr,
    more: &str,
    first: &str,
) -> (Edge, PathBuf) {
    let (ca, chain, key) = certificates(folder.path(), &["h.test"]);
    let certificate = format!("{more}[[certificate]]\nchain = {chain:?}\nkey = {key:?}\n");
    let last = "[[distribution.behavior]]\npath = \"*\"";
    let config = plain(origin, &certificate)
        .replace("[listen]\n", "[listen]\nhttps = [\"127.0.0.1:0\"]\nhttp3 = true\n")
        .replace(last, &format!("{first}{last}"));
    std::fs::write(folder.path().join("edge.toml"), config + "methods = \"all\"\n").unwrap();
    (Edge::start_in(folder), ca)
}

fn behavior(path: &str, more: &str) -> String {
    format!("[[distribution.behavior]]\npath = \"{path}\"\norigin = \"o\"\n{more}\n")
}

const REQUEST: &str = "function handler(event) {
    var request = event.request;
    if (request.uri === '/code/own') {
        return { statusCode: 302, statusDescription: 'Found', headers: { location: { value: '/there' } } };
    }
    if (request.uri.endsWith('/')) { request.uri += 'index.html'; }
    return request;
}";

const RESPONSE: &str = "function handler(event) {
    event.response.headers['x-stamped'] = { value: 'yes' };
    return event.response;
}";

const LAMBDA: &str = "exports.handler = async (event) => {
    const request = event.Records[0].cf.request;
    if (request.uri === '/lambda/own') {
        return { status: '200', headers: { 'x-made': [{ key: 'X-Made', value: 'here' }] }, body: 'own' };
    }
    request.uri = '/rewritten';
    return request;
};";

/// Method, path, octets of the body; status, a field of the answer, and its body where it says
/// something.
type Row =
    (&'static str, &'static str, usize, u16, (&'static str, Option<&'static str>), &'static str);

const LARGE: usize = 48 << 10;

const ROWS: &[Row] = &[
    ("GET", "/a?b=c", 0, 200, ("x-from", Some("origin")), "GET /a?b=c 0"),
    ("POST", "/a", LARGE, 200, ("x-from", Some("origin")), "POST /a 49152"),
    ("PUT", "/a", 1, 200, ("x-from", Some("origin")), "PUT /a 1"),
    ("POST", "/read/a", 5, 403, ("x-from", None), ""),
    ("GET", "/code/docs/", 0, 200, ("x-stamped", Some("yes")), "GET /code/docs/index.html 0"),
    ("POST", "/code/a", LARGE, 200, ("x-stamped", Some("yes")), "POST /code/a 49152"),
    ("GET", "/code/own", 0, 302, ("location", Some("/there")), ""),
];

const ROWS_OF_LAMBDAS: &[Row] = &[
    ("GET", "/lambda/own", 0, 200, ("x-made", Some("here")), "own"),
    ("GET", "/lambda/a", 0, 200, ("x-from", Some("origin")), "GET /rewritten 0"),
    ("POST", "/lambda/a", LARGE, 200, ("x-from", Some("origin")), "POST /rewritten 49152"),
];

#[test]
fn code_uploads_and_refusals_are_the_same_over_every_protocol() {
    let origin = Origin::start(|asked| {
        let said = format!("{} {} {}", asked.method, asked.target, asked.body);
        answer(200, "Cache-Control: no-store\nX-From: origin", said.as_bytes())
    });
    let has_node = tool::have(&[Tool::Program("node")]);
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let write = |name: &str, code: &str| std::fs::write(folder.path().join(name), code).unwrap();
    write("request.js", REQUEST);
    write("response.js", RESPONSE);
    std::fs::create_dir(folder.path().join("lambda")).unwrap();
    write("lambda/index.js", LAMBDA);
    let mut more =
        "[function.request]\nfile = \"request.js\"\n[function.response]\nfile = \"response.js\"\n"
            .to_string();
    let code = "functions = { viewer_request = \"request\", viewer_response = \"response\" }";
    let mut first =
        behavior("/read/*", "") + &behavior("/code/*", &format!("methods = \"all\"\n{code}"));
    if has_node {
        more += "[lambda.made]\ncode = \"lambda\"\nhandler = \"index.handler\"\nruntime = \"nodejs20.x\"\n\
                 workers = { min = 0, max = 1 }\n";
        let code = "functions = { viewer_request = \"made\" }";
        first += &behavior("/lambda/*", &format!("methods = \"all\"\n{code}"));
    }
    let (edge, ca) = edge_with(folder, origin.address, &more, &first);
    let lambdas: &[Row] = if has_node { ROWS_OF_LAMBDAS } else { &[] };
    for &(method, path, length, status, (name, value), says) in ROWS.iter().chain(lambdas) {
        let body = vec![b'x'; length];
        let asking = Asking { method, path, kind: "text/plain", body: &body };
        for speaks in ALL {
            let (was, field, body) = asking.over(speaks, edge.https.unwrap(), &ca, name);
            let body = String::from_utf8_lossy(&body);
            assert_eq!(was, status, "{speaks:?} {method} {path}: {body}");
            assert_eq!(field.as_deref(), value, "{speaks:?} {method} {path}");
            assert!(says.is_empty() || body == says, "{speaks:?} {method} {path}: {body}");
        }
    }
    assert_eq!(edge.metric("foreshore_function_errors_total"), 0.0);
}

#[test]
fn forms_are_encrypted_and_refused_alike_over_every_protocol() {
    let (address, told) = forms::origin();
    let more = forms::settings(forms::STRICT);
    let first = behavior("/pay", forms::BEHAVIOR);
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let (edge, ca) = edge_with(folder, address, &more, &first);
    let many = "cvc=1&".repeat(11);
    for (kind, body, status) in [
        (forms::KIND, "a=1&card-no=4111&cvc=999", 200),
        ("application/json", "{}", 400),
        (forms::KIND, "cvc=%", 400),
        (forms::KIND, many.as_str(), 400),
    ] {
        let asking = Asking { method: "POST", path: "/pay", kind, body: body.as_bytes() };
        for speaks in ALL {
            let (was, _, _) = asking.over(speaks, edge.https.unwrap(), &ca, "x-cache");
            assert_eq!(was, status, "{speaks:?} {body}");
            if status != 200 {
                assert!(told.try_recv().is_err(), "{speaks:?}: {body} reached the origin");
                continue;
            }
            let (head, form) = forms::came(&told);
            assert_eq!(forms::opened(&form), body, "{speaks:?}");
            let has = |text: &str| form.windows(text.len()).any(|octets| octets == text.as_bytes());
            assert!(!has("card-no=4111") && !has("cvc=999"), "{speaks:?}");
            assert!(
                head.contains(&format!("content-length: {}", form.len())),
                "{speaks:?}: {head}"
            );
        }
    }
    let encrypted = edge.metric("foreshore_forms_encrypted_total");
    assert_eq!(encrypted, ALL.len() as f64);
}

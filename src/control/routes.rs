//! Pure: the calls of the admin listener. One table says each one's method, path, which right it
//! takes, and what it does in a line. The 404 and the guide's table are written from it.

use http::Method;

/// What a caller has to show to make a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    Anybody,
    /// The admin token.
    Token,
    /// An edge, with the token that this node trusts it by.
    Edge,
    /// The admin token, the one that is for events alone, or a signature of SNS.
    Events,
    /// A signature under an access key, as AWS's tools make it.
    Signature,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Alive,
    Ready,
    Metrics,
    Status,
    Reload,
    Promote,
    Adopt,
    Upgrade,
    Invalidate,
    Invalidations,
    Invalidation,
    Fleet,
    Store,
    StoreList,
    StoreVerify,
    FromEdge,
    Sequence,
    S3Events,
    CloudFront,
    ApiGateway,
    Stores,
    Values,
    ValuesData,
    Functions,
    Function,
    FunctionLog,
    Explain,
    Snapshot,
    Live,
    Login,
    Logout,
    Dashboard,
    DashboardFile,
}

/// One row of the table.
#[derive(Debug)]
pub struct Route {
    /// `ANY` where the callee tells methods apart.
    pub method: &'static str,
    /// `/ID` at the end stands for one more segment, `/…` for whatever follows.
    pub path: &'static str,
    pub right: Right,
    pub call: Call,
    pub help: &'static str,
}

const fn route(
    method: &'static str,
    path: &'static str,
    right: Right,
    call: Call,
    help: &'static str,
) -> Route {
    Route { method, path, right, call, help }
}

/// All calls, in the order in which they are told.
pub const ROUTES: [Route; 33] = [
    route(
        "POST",
        "/v1/invalidations",
        Right::Token,
        Call::Invalidate,
        "invalidates: `{\"paths\": [\"/img/*\"], \"tags\": [\"product:42\"], \"soft\": false, \"dry_run\": false, \"distribution\": \"EDEMO\", \"wait\": 15}`; `wait` is in seconds, for a fleet",
    ),
    route(
        "GET",
        "/v1/invalidations",
        Right::Token,
        Call::Invalidations,
        "the last hundred, each `Completed` or `InProgress`",
    ),
    route("GET", "/v1/invalidations/ID", Right::Token, Call::Invalidation, "one of them"),
    route(
        "GET",
        "/v1/fleet",
        Right::Token,
        Call::Fleet,
        "the fleet as this member sees it: what `foreshore fleet` prints",
    ),
    route(
        "GET",
        "/v1/status",
        Right::Token,
        Call::Status,
        "what is loaded, the last reload and its mistakes, certificates and their days left, the regional tier; `?most=N` tells N of each list that is as long as the configuration, and of certificates those that end first",
    ),
    route(
        "POST",
        "/v1/reload",
        Right::Token,
        Call::Reload,
        "as SIGHUP, with the outcome as the answer: what `foreshore reload` calls",
    ),
    route(
        "POST",
        "/v1/promotions",
        Right::Token,
        Call::Promote,
        "`{\"distribution\": \"ESTAGING\", \"undo\": false}`: what `foreshore promote` calls",
    ),
    route(
        "POST",
        "/v1/adoptions",
        Right::Token,
        Call::Adopt,
        "`{\"distribution\": \"E1\", \"undo\": false}`: what `foreshore adopt` calls",
    ),
    route(
        "POST",
        "/v1/upgrade",
        Right::Token,
        Call::Upgrade,
        "as SIGUSR2, with the outcome as the answer: `{\"binary\": \"/usr/bin/foreshore\", \"wait\": 30}`, both optional: what `foreshore upgrade` calls",
    ),
    route("GET", "/v1/store", Right::Token, Call::Store, "the disk store: how much"),
    route(
        "POST",
        "/v1/store/list",
        Right::Token,
        Call::StoreList,
        "what lies there: `{\"prefix\": \"/img/\", \"tag\": \"a\", \"max\": 100}`",
    ),
    route("POST", "/v1/store/verify", Right::Token, Call::StoreVerify, "whether it is whole"),
    route(
        "GET",
        "/metrics",
        Right::Token,
        Call::Metrics,
        "Prometheus: requests by distribution, behavior and outcome, bytes, origin latency, store, limits",
    ),
    route("GET", "/healthz", Right::Anybody, Call::Alive, "`ok` while the process lives"),
    route("GET", "/readyz", Right::Anybody, Call::Ready, "503 while draining"),
    route(
        "POST",
        "/v1/edge/invalidations",
        Right::Edge,
        Call::FromEdge,
        "what an edge tells its parents",
    ),
    route(
        "POST",
        "/v1/fleet/call",
        Right::Edge,
        Call::Sequence,
        "what a member asks of its fleet's sequencer, where this node is one",
    ),
    route(
        "POST",
        "/v1/events/s3",
        Right::Events,
        Call::S3Events,
        "changed objects of buckets, as S3, MinIO, Ceph, EventBridge and SNS tell of them: each path is invalidated",
    ),
    route(
        "ANY",
        "/2020-05-31/…",
        Right::Signature,
        Call::CloudFront,
        "CloudFront's own API: invalidations, distributions, policies, keys, trust stores, real-time logs, functions, key value stores; below older dates, its invalidations (`config/CLOUDFRONT.md`)",
    ),
    route(
        "ANY",
        "/restapis/…",
        Right::Signature,
        Call::ApiGateway,
        "API Gateway's flush of a stage's cache: `DELETE /restapis/API/stages/STAGE/cache/data` (`config/CLOUDFRONT.md`)",
    ),
    route("GET", "/v1/kv", Right::Token, Call::Stores, "the key value stores"),
    route(
        "ANY",
        "/v1/kv/…",
        Right::Token,
        Call::Values,
        "`NAME` describes one; `NAME/keys?prefix&after&max` lists, with POST `{\"puts\": [{\"key\", \"value\"}], \"deletes\": []}` changes all or none; \
         `NAME/keys/KEY` by GET, PUT `{\"value\"}`, DELETE; GET `NAME/export`, POST `NAME/import`: the whole file. Changes take If-Match",
    ),
    route(
        "ANY",
        "/key-value-stores/…",
        Right::Signature,
        Call::ValuesData,
        "the API of CloudFront's KeyValueStore (`config/CLOUDFRONT.md`)",
    ),
    route(
        "GET",
        "/v1/functions",
        Right::Token,
        Call::Functions,
        "the functions: runtime, stages, where each stands, calls, errors, utilisation",
    ),
    route(
        "ANY",
        "/v1/functions/ID",
        Right::Token,
        Call::Function,
        "one of the API: GET describes it, DELETE removes it, POST deploys `{\"code\", \"runtime\": \"cloudfront-js-2.0\", \"comment\", \"store\", \"publish\": true}`",
    ),
    route(
        "GET",
        "/v1/function-log",
        Right::Token,
        Call::FunctionLog,
        "what functions wrote of late; `?after=N`, N being `next` of an earlier answer: what came since",
    ),
    route(
        "POST",
        "/v1/explain",
        Right::Token,
        Call::Explain,
        "what would happen to a request and why, as `foreshore explain` tells it: `{\"url\": \"https://www.example.com/a\", \"method\": \"GET\", \"fields\": [\"Accept: */*\"], \"from\": \"192.0.2.1\", \"status\": 200, \"answer\": [\"Cache-Control: private\"]}`",
    ),
    route(
        "GET",
        "/dashboard",
        Right::Anybody,
        Call::Dashboard,
        "the dashboard, for a browser; it asks for the token itself",
    ),
    route("GET", "/dashboard/ID", Right::Anybody, Call::DashboardFile, "its script and its style"),
    route(
        "POST",
        "/v1/login",
        Right::Anybody,
        Call::Login,
        "`{\"token\": \"…\"}`: a cookie that stands for the admin token for twelve hours; five wrong ones a minute",
    ),
    route("POST", "/v1/logout", Right::Token, Call::Logout, "ends the session of that cookie"),
    route(
        "GET",
        "/v1/snapshot",
        Right::Token,
        Call::Snapshot,
        "what the dashboard shows, as one document: rates, totals, behaviors, origins, the top URLs, the end of the log",
    ),
    route(
        "GET",
        "/v1/live",
        Right::Token,
        Call::Live,
        "the same once a second as server-sent events (`now`), behind what was in the last quarter of an hour (`history`)",
    ),
];

/// What a method and a path come to.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'p> {
    /// This call, with what stands for `ID`.
    Call(Call, Right, &'p str),
    /// Only by this other method.
    OtherMethod(&'static str),
    Nothing,
}

impl Route {
    // What follows the path, where it may; `None` if it is another one.
    fn matches<'p>(&self, path: &'p str) -> Option<&'p str> {
        if let Some(start) = self.path.strip_suffix("ID") {
            return path.strip_prefix(start).filter(|id| !id.is_empty() && !id.contains('/'));
        }
        if self.call == Call::CloudFront {
            return below_a_date(path);
        }
        if let Some(start) = self.path.strip_suffix('…') {
            return path.strip_prefix(start);
        }
        (self.path == path).then_some("")
    }

    // HEAD is answered wherever GET is.
    fn takes(&self, method: &Method) -> bool {
        self.method == "ANY"
            || self.method == method.as_str()
            || (self.method == "GET" && *method == Method::HEAD)
    }
}

// What follows a version of CloudFront's API. Older tools send theirs, and are to be answered in
// the API's form whatever it is.
fn below_a_date(path: &str) -> Option<&str> {
    let (date, rest) = path.strip_prefix('/')?.split_once('/')?;
    let is_date = date.len() == 10
        && date.bytes().enumerate().all(|(at, octet)| match at {
            4 | 7 => octet == b'-',
            _ => octet.is_ascii_digit(),
        });
    is_date.then_some(rest)
}

/// Finds a call.
pub fn find<'p>(method: &Method, path: &'p str) -> Found<'p> {
    let mut other = None;
    for route in &ROUTES {
        if let Some(id) = route.matches(path) {
            if route.takes(method) {
                return Found::Call(route.call, route.right, id);
            }
            other = other.or(Some(route.method));
        }
    }
    other.map_or(Found::Nothing, Found::OtherMethod)
}

/// The calls in one line, for a caller that asked for something else.
pub fn known() -> String {
    let all: Vec<String> =
        ROUTES.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    format!("no such call; known: {}", all.join(", "))
}

/// The guide's table.
pub fn table() -> String {
    let right = |right: Right| match right {
        Right::Anybody => "nothing",
        Right::Token => "the admin token",
        Right::Edge => "an edge's token",
        Right::Events => "the admin token, that of `[events.s3]`, or SNS's signature",
        Right::Signature => "an access key",
    };
    let rows = ROUTES.iter().map(|route| {
        format!("| `{} {}` | {} | {} |\n", route.method, route.path, right(route.right), route.help)
    });
    format!("| call | wants | what it does |\n|---|---|---|\n{}", rows.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found_by_method_and_path() {
        for (method, path, want) in [
            (Method::GET, "/healthz", Found::Call(Call::Alive, Right::Anybody, "")),
            (Method::HEAD, "/readyz", Found::Call(Call::Ready, Right::Anybody, "")),
            (Method::POST, "/v1/invalidations", Found::Call(Call::Invalidate, Right::Token, "")),
            (Method::GET, "/v1/invalidations", Found::Call(Call::Invalidations, Right::Token, "")),
            (
                Method::GET,
                "/v1/invalidations/I1",
                Found::Call(Call::Invalidation, Right::Token, "I1"),
            ),
            (Method::GET, "/v1/invalidations/", Found::Nothing),
            (Method::GET, "/v1/invalidations/a/b", Found::Nothing),
            (Method::POST, "/v1/edge/invalidations", Found::Call(Call::FromEdge, Right::Edge, "")),
            (Method::POST, "/v1/fleet/call", Found::Call(Call::Sequence, Right::Edge, "")),
            (Method::POST, "/v1/events/s3", Found::Call(Call::S3Events, Right::Events, "")),
            (Method::PUT, "/2020-05-31/x", Found::Call(Call::CloudFront, Right::Signature, "x")),
            (Method::GET, "/2014-05-31/x", Found::Call(Call::CloudFront, Right::Signature, "x")),
            (Method::GET, "/2014-05-31", Found::Nothing),
            (Method::GET, "/2014-05-3x/x", Found::Nothing),
            (Method::GET, "/2014505531/x", Found::Nothing),
            (Method::GET, "/2020-05-311/x", Found::Nothing),
            (
                Method::DELETE,
                "/restapis/a1/stages/prod/cache/data",
                Found::Call(Call::ApiGateway, Right::Signature, "a1/stages/prod/cache/data"),
            ),
            (Method::DELETE, "/v1/status", Found::OtherMethod("GET")),
            (Method::GET, "/v1/reload", Found::OtherMethod("POST")),
            (Method::GET, "/v1/stat", Found::Nothing),
            (Method::GET, "/dashboard", Found::Call(Call::Dashboard, Right::Anybody, "")),
            (
                Method::GET,
                "/dashboard/app.js",
                Found::Call(Call::DashboardFile, Right::Anybody, "app.js"),
            ),
            (Method::POST, "/v1/login", Found::Call(Call::Login, Right::Anybody, "")),
            (Method::GET, "/v1/login", Found::OtherMethod("POST")),
            (Method::GET, "/v1/live", Found::Call(Call::Live, Right::Token, "")),
        ] {
            assert_eq!(find(&method, path), want, "{method} {path}");
        }
    }

    // `[api]` makes all of these by that one route.
    #[test]
    fn the_row_of_cloudfronts_api_names_what_it_makes() {
        let row = ROUTES.iter().find(|route| route.call == Call::CloudFront).unwrap();
        for kind in ["distributions", "policies", "trust stores", "real-time logs", "functions"] {
            assert!(row.help.contains(kind), "{kind}");
        }
    }

    // Whatever is not here wants something shown.
    #[test]
    fn anybody_may_do_little() {
        let open = ROUTES.iter().filter(|route| route.right == Right::Anybody);
        let open: Vec<&str> = open.map(|route| route.path).collect();
        assert_eq!(open, ["/healthz", "/readyz", "/dashboard", "/dashboard/ID", "/v1/login"]);
    }

    #[test]
    fn no_two_rows_are_for_one_call() {
        for (at, route) in ROUTES.iter().enumerate() {
            for other in &ROUTES[at + 1..] {
                assert!(
                    route.call != other.call
                        && (route.method, route.path) != (other.method, other.path),
                    "{}",
                    route.path
                );
            }
            assert!(known().contains(route.path) && table().contains(route.help));
        }
    }
}

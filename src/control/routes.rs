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
    Stores,
    Values,
    ValuesData,
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
pub const ROUTES: [Route; 20] = [
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
        "what is loaded, the last reload and its mistakes, certificates and their days left, the regional tier",
    ),
    route(
        "POST",
        "/v1/reload",
        Right::Token,
        Call::Reload,
        "as SIGHUP, with the outcome as the answer",
    ),
    route(
        "POST",
        "/v1/promotions",
        Right::Token,
        Call::Promote,
        "`{\"distribution\": \"ESTAGING\", \"undo\": false}`: what `foreshore promote` calls",
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
        "CloudFront's own API: invalidations, distributions, policies, keys, key value stores (`config/CLOUDFRONT.md`)",
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
            (Method::DELETE, "/v1/status", Found::OtherMethod("GET")),
            (Method::GET, "/v1/reload", Found::OtherMethod("POST")),
            (Method::GET, "/v1/stat", Found::Nothing),
        ] {
            assert_eq!(find(&method, path), want, "{method} {path}");
        }
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

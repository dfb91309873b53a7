//! Applies a response headers policy: to lines on a hit, to a map otherwise, by the same rules.
//!
//! Removing comes first, then what is set. CORS fields go to requests that carry Origin, and those
//! of a preflight to preflights. What depends on the viewer is made here, at the very end, so that
//! nothing of it is ever stored.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderName,
    HeaderValue, VARY,
};
use smallvec::SmallVec;

use super::sink::FieldSink;
use crate::base::share::Share;
use crate::distribution::response_policy::{Cors, Origins, Over, ResponsePolicy};
use crate::message::request::{RequestHead, RequestId};
use crate::message::verdict::Outcome;
use crate::semantics::fields::{FieldSection, Name, WriteValue};

/// The fields of cross-origin resource sharing that an answer may have.
const CORS: [HeaderName; 6] = [
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
];

type Lines = SmallVec<[(HeaderName, HeaderValue); 6]>;

/// What the policy comes to for one answer.
struct Plan<'p> {
    policy: &'p ResponsePolicy,
    cors: Option<(Over, Lines)>,
}

impl<'p> Plan<'p> {
    fn new(
        policy: &'p ResponsePolicy,
        head: &RequestHead<'_>,
        said_by_origin: impl Fn(&HeaderName) -> bool,
    ) -> Self {
        let origin = policy
            .cors
            .as_ref()
            .and_then(|_| head.fields.get_all("origin").next())
            .and_then(|line| std::str::from_utf8(line).ok());
        let cors = policy.cors.as_ref().zip(origin).and_then(|(cors, origin)| {
            // What the origin says of it is whole, or is not there.
            let stays = |name: &&HeaderName| !policy.remove.contains(name);
            let is_said =
                cors.over == Over::Nothing && CORS.iter().filter(stays).any(&said_by_origin);
            (!is_said).then(|| (cors.over, cors_lines(cors, origin, head)))
        });
        Self { policy, cors }
    }

    fn drops(&self, name: Name<'_>) -> bool {
        let is_replaced =
            self.policy.set.iter().any(|field| field.over == Over::Origin && name == field.name);
        let is_cors = matches!(&self.cors, Some((Over::Origin, _))) && name.is_any(&CORS);
        is_replaced || is_cors || name.is_any(&self.policy.remove)
    }

    // Every field that is added, where nothing that stays says it already.
    fn each_added(
        &self,
        is_there: impl Fn(&HeaderName) -> bool,
        mut add: impl FnMut(&HeaderName, &HeaderValue),
    ) {
        for field in &self.policy.set {
            if field.over == Over::Origin
                || self.policy.remove.contains(&field.name)
                || !is_there(&field.name)
            {
                add(&field.name, &field.value);
            }
        }
        self.cors.iter().flat_map(|(_, lines)| lines).for_each(|(name, value)| add(name, value));
    }
}

// What a script from there may see, and what it may ask.
fn cors_lines(cors: &Cors, origin: &str, head: &RequestHead<'_>) -> Lines {
    let mut lines = Lines::new();
    let mut add = |name: HeaderName, text: &str| {
        if let (false, Ok(value)) = (text.is_empty(), HeaderValue::from_str(text)) {
            lines.push((name, value));
        }
    };
    // The star means nothing where credentials are sent.
    let is_any = cors.origins == Origins::Any && !cors.allows_credentials;
    if !is_any {
        // Another origin gets another answer, allowed or not.
        add(VARY, "Origin");
    }
    if !cors.origins.allow(origin) {
        return lines;
    }
    add(ACCESS_CONTROL_ALLOW_ORIGIN, if is_any { "*" } else { origin });
    if cors.allows_credentials {
        add(ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
    }
    let is_preflight = *head.method == http::Method::OPTIONS
        && head.fields.get_all("access-control-request-method").next().is_some();
    if is_preflight {
        add(ACCESS_CONTROL_ALLOW_METHODS, &cors.methods);
        let asked = head
            .fields
            .get_all("access-control-request-headers")
            .next()
            .and_then(|line| std::str::from_utf8(line).ok());
        // With credentials the star is only a name: what is asked for is what is allowed.
        let headers = if cors.headers == "*" && cors.allows_credentials {
            asked.unwrap_or("")
        } else {
            &cors.headers
        };
        add(ACCESS_CONTROL_ALLOW_HEADERS, headers);
        if let Some(seconds) = cors.max_age {
            add(ACCESS_CONTROL_MAX_AGE, itoa::Buffer::new().format(seconds));
        }
    } else {
        add(ACCESS_CONTROL_EXPOSE_HEADERS, &cors.expose);
    }
    lines
}

/// Applies a policy to a section.
pub fn apply(policy: &ResponsePolicy, head: &RequestHead<'_>, fields: &mut FieldSection) {
    let plan = Plan::new(policy, head, |name| fields.contains(name));
    fields.retain(|name, _| !plan.drops(name));
    let there: SmallVec<[bool; 8]> =
        policy.set.iter().map(|field| fields.contains(&field.name)).collect();
    let is_there = |name: &HeaderName| {
        policy.set.iter().position(|field| field.name == *name).is_some_and(|at| there[at])
    };
    plan.each_added(is_there, |name, value| {
        fields.append(name, value);
    });
}

/// Writes stored lines as the policy leaves them, and what it adds behind them.
pub fn write<'l, S: FieldSink>(
    policy: &ResponsePolicy,
    head: &RequestHead<'_>,
    lines: impl Iterator<Item = (&'l [u8], &'l [u8])> + Clone,
    sink: &mut S,
) {
    let says = |name: &HeaderName| lines.clone().any(|(known, _)| Name::of(known) == name);
    let plan = Plan::new(policy, head, says);
    // Few names are ever looked for, so the lines are gone through once for each of them and not
    // hashed.
    for (name, value) in lines.clone() {
        let name = Name::of(name);
        if !plan.drops(name) {
            sink.field(name, value);
        }
    }
    plan.each_added(says, |name, value| sink.field(name, value));
}

/// The value of Server-Timing.
pub struct ServerTiming<'a> {
    outcome: Outcome,
    origin_millis: Option<u64>,
    pop: &'a str,
    id: RequestId,
}

/// What Server-Timing says, if this answer is to have it (CloudFront: "Server-Timing header").
/// `pop` is this place's name.
pub fn server_timing<'a>(
    policy: &ResponsePolicy,
    head: &RequestHead<'_>,
    outcome: Outcome,
    origin_millis: Option<u64>,
    pop: &'a str,
) -> Option<ServerTiming<'a>> {
    let share = policy.server_timing?;
    let is_asked_for =
        || head.fields.get_all("pragma").any(|line| line.eq_ignore_ascii_case(b"server-timing"));
    // Another sample than the one that chooses a side of a deployment.
    let lot = RequestId(head.id.0.rotate_left(17)).sample(Share::ALL);
    if !share.takes(lot) && !is_asked_for() {
        return None;
    }
    Some(ServerTiming { outcome, origin_millis, pop, id: head.id })
}

impl WriteValue for ServerTiming<'_> {
    fn write_value(&self, out: &mut Vec<u8>) {
        if let Some(millis) = self.origin_millis {
            out.extend_from_slice(b"cdn-upstream-layer;desc=\"EDGE\",cdn-upstream-fbl;dur=");
            millis.write_value(out);
            out.push(b',');
        }
        let (word, layer) = match self.outcome {
            Outcome::Hit => ("cdn-cache-hit", ",cdn-hit-layer;desc=\"EDGE\""),
            Outcome::RefreshHit => ("cdn-cache-refresh", ""),
            Outcome::Miss | Outcome::Error | Outcome::Redirect => ("cdn-cache-miss", ""),
        };
        [word, ",cdn-pop;desc=\"", self.pop, "\",cdn-rid;desc=\""].write_value(out);
        self.id.write(out);
        ["\"", layer].write_value(out);
    }
}

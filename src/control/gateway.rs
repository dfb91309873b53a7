//! API Gateway's calls that empty the cache of a stage, as the AWS tools make them (rest-json):
//! `[[rest_api]]` says which distribution, and what of it, a stage is. The cache of a stage's
//! authorizers is always empty here.
//!
//! Signed with Signature Version 4 for `apigateway` under a key that may do `apigateway:DELETE`, or
//! with the admin token.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::Control;
use super::answer::{Answer, json_text, whole};
use super::caller::{self, Doubt};
use super::invalidation::{Asked, Wrong};
use crate::crypto::sigv4::SigV4Error;
use crate::distribution::site::RestApi;
use crate::invalidation::log::new_id;

const SERVICE: &str = "apigateway";

/// Which cache of a stage is emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cache {
    Data,
    Authorizers,
}

/// A call: the cache, and the API and the stage that it is of.
#[derive(Debug, PartialEq, Eq)]
struct Flush {
    cache: Cache,
    api: String,
    stage: String,
}

impl Flush {
    fn of(method: &Method, path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.split('/').collect();
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (api, stage, cache) = match (method, &parts[..]) {
            (&Method::DELETE, [api, "stages", stage, "cache", "data"]) => (api, stage, Cache::Data),
            (&Method::DELETE, [api, "stages", stage, "cache", "authorizers"]) => {
                (api, stage, Cache::Authorizers)
            }
            _ => return None,
        };
        Some(Self { cache, api: decoded(api), stage: decoded(stage) })
    }

    // How API Gateway calls it.
    const fn name(&self) -> &'static str {
        match self.cache {
            Cache::Data => "FlushStageCache",
            Cache::Authorizers => "FlushStageAuthorizersCache",
        }
    }

    // What a stage stands for here.
    fn find<'s>(&self, all: &'s [RestApi]) -> Result<&'s RestApi, Fault> {
        let mut of_api = all.iter().filter(|one| one.id == self.api).peekable();
        if of_api.peek().is_none() {
            let why = format!("Invalid API identifier specified: no [[rest_api]] is {}", self.api);
            return Err(Fault::new(404, "NotFoundException", why));
        }
        of_api.find(|one| one.stage == self.stage).ok_or_else(|| {
            let why = "Invalid stage identifier specified";
            Fault::new(404, "NotFoundException", why.into())
        })
    }
}

/// Something wrong with a call, as API Gateway says it.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    status: u16,
    name: &'static str,
    message: String,
}

impl Fault {
    const fn new(status: u16, name: &'static str, message: String) -> Self {
        Self { status, name, message }
    }
}

/// Answers a call; `path` is what follows `/restapis/`, as it came.
pub async fn answer(control: &Arc<Control>, parts: &Parts, path: &str, body: &[u8]) -> Answer {
    let flush = Flush::of(&parts.method, path);
    let name = flush.as_ref().map_or("Unknown", Flush::name);
    let done = match flush {
        Some(flush) => act(control, parts, &flush, body).await,
        None => Err(Fault::new(
            404,
            "NotFoundException",
            "Foreshore answers DELETE …/stages/STAGE/cache/data and …/cache/authorizers.".into(),
        )),
    };
    let mut answer = match done {
        Ok(()) => {
            let mut answer = Response::new(whole(String::new()));
            *answer.status_mut() = StatusCode::ACCEPTED;
            answer
        }
        Err(fault) => refused(&fault),
    };
    control.api_calls.note(SERVICE, name, answer.status().as_u16());
    if let Ok(id) = HeaderValue::try_from(new_id()) {
        answer.headers_mut().insert("x-amzn-requestid", id);
    }
    answer
}

fn refused(fault: &Fault) -> Answer {
    let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = json_text(status, json!({ "message": fault.message }).to_string());
    answer.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(fault.name));
    answer
}

async fn act(
    control: &Arc<Control>,
    parts: &Parts,
    flush: &Flush,
    body: &[u8],
) -> Result<(), Fault> {
    // Identity and Access Management names calls of API Gateway by their method.
    let who = caller::admit(control, parts, (SERVICE, "DELETE"), body).map_err(doubted)?;
    let running = control.edge.running();
    let stage = flush.find(&running.site.rest_apis)?.clone();
    if flush.cache == Cache::Authorizers {
        return Ok(());
    }
    let asked = Asked {
        distribution: Some(stage.distribution.clone()),
        paths: vec![stage.path.clone()],
        tags: Vec::new(),
        soft: false,
        dry_run: false,
        // Accepted is all that the answer says.
        wait: Some(0),
    };
    let done = control.invalidate(asked).await.map_err(failed)?;
    let resource = format!("restapis/{}/stages/{}", flush.api, flush.stage);
    tracing::info!(
        who,
        action = flush.name(),
        resource,
        id = done.id.unwrap_or_default(),
        "flushed by the API"
    );
    Ok(())
}

fn failed(wrong: Wrong) -> Fault {
    match wrong {
        // A distribution that the API has removed since.
        Wrong::Unknown(why) => Fault::new(404, "NotFoundException", why),
        Wrong::Bad(why) => Fault::new(400, "BadRequestException", why),
        Wrong::NotWritten(why) => {
            tracing::error!(why, "an invalidation could not be written down");
            let why = "Nothing was flushed: the log could not be written.".to_string();
            Fault::new(503, "ServiceUnavailableException", why)
        }
    }
}

fn doubted(doubt: Doubt) -> Fault {
    let (name, words) = match doubt {
        Doubt::Unsigned => ("MissingAuthenticationTokenException", "Missing Authentication Token"),
        Doubt::UnsignedMayNot => {
            ("AccessDeniedException", "Calls without a signature may do nothing but invalidate.")
        }
        Doubt::Unreadable | Doubt::Signature(SigV4Error::Incomplete | SigV4Error::NoDate) => (
            "IncompleteSignatureException",
            "The signature must be a whole AWS4-HMAC-SHA256 one and cover Host and X-Amz-Date.",
        ),
        Doubt::UnknownKey => (
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        ),
        Doubt::Signature(SigV4Error::Skewed) => (
            "InvalidSignatureException",
            "The request was signed more than fifteen minutes ago, or in the future.",
        ),
        Doubt::Signature(SigV4Error::OtherService) => (
            "InvalidSignatureException",
            "Credential should be scoped to correct service: 'apigateway'.",
        ),
        Doubt::Signature(SigV4Error::Wrong | SigV4Error::OtherBody | SigV4Error::OtherRegion) => (
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided.",
        ),
        Doubt::NotAllowed => (
            "AccessDeniedException",
            "This access key is not authorized to perform: apigateway:DELETE.",
        ),
    };
    Fault::new(403, name, words.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Vec<RestApi> {
        let one = |stage: &str, path: &str| RestApi {
            id: "a1".into(),
            stage: stage.into(),
            distribution: "E1".into(),
            path: path.into(),
        };
        vec![one("prod", "/*"), one("test 1", "/test/*")]
    }

    #[test]
    fn calls_are_found_by_method_and_path() {
        let cache = |method: &Method, path: &str| {
            Flush::of(method, path).map(|flush| (flush.cache, flush.stage))
        };
        let data = cache(&Method::DELETE, "a1/stages/test%201/cache/data");
        assert_eq!(data, Some((Cache::Data, "test 1".into())));
        let authorizers = cache(&Method::DELETE, "a1/stages/prod/cache/authorizers");
        assert_eq!(authorizers, Some((Cache::Authorizers, "prod".into())));
        for (method, path) in [
            (Method::GET, "a1/stages/prod/cache/data"),
            (Method::DELETE, "a1/stages/prod/cache"),
            (Method::DELETE, "a1/stages/prod"),
            (Method::DELETE, "a1/stages/prod/cache/data/x"),
            (Method::DELETE, ""),
        ] {
            assert_eq!(cache(&method, path), None, "{method} {path}");
        }
    }

    #[test]
    fn a_stage_is_what_the_configuration_says() {
        let found = |path: &str| {
            let flush = Flush::of(&Method::DELETE, path).unwrap();
            flush.find(&known()).map(|one| one.path.clone()).map_err(|fault| fault.message)
        };
        assert_eq!(found("a1/stages/prod/cache/data"), Ok("/*".into()));
        assert_eq!(found("a1/stages/test%201/cache/data"), Ok("/test/*".into()));
        let stage = found("a1/stages/none/cache/data").unwrap_err();
        assert!(stage.contains("stage identifier"), "{stage}");
        let api = found("a2/stages/prod/cache/data").unwrap_err();
        assert!(api.contains("API identifier") && api.contains("a2"), "{api}");
    }
}

//! Pure: the passwords of ElastiCache's users with IAM authentication: a presigned request that is
//! never sent, good for a quarter of an hour.

use crate::base::secret::Secret;
use crate::crypto::presigned;
use crate::crypto::sigv4::Scope;
use crate::distribution::tier::Iam;
use crate::semantics::time::Timestamp;

const SERVICE: &str = "elasticache";
/// The longest that ElastiCache takes.
const SECS: u32 = 900;

/// The password of a user at a moment.
pub fn password(iam: &Iam, user: &str, now: Timestamp) -> Secret<String> {
    let mut parameters = vec![("Action", "connect"), ("User", user)];
    if iam.is_serverless {
        parameters.push(("ResourceType", "ServerlessCache"));
    }
    let scope = Scope { region: &iam.region, service: SERVICE };
    Secret::new(presigned::get(&iam.cache, &parameters, SECS, now, scope, &iam.credentials))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::crypto::sigv4::Credentials;
    use crate::distribution::tier::IAM_AGAIN;

    fn text(case: &Value, key: &str) -> String {
        case[key].as_str().unwrap().to_string()
    }

    #[test]
    fn passwords_are_those_that_botocore_makes() {
        let vectors = include_str!("../../tests/vectors/elasticache-iam.json");
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        let cases = vectors["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 4);
        for case in cases {
            let token = case["session_token"].as_str();
            let iam = Iam {
                cache: text(case, "cache"),
                region: text(case, "region"),
                is_serverless: case["serverless"].as_bool().unwrap(),
                credentials: Credentials {
                    id: text(case, "id"),
                    secret: Secret::new(text(case, "secret")),
                    session_token: token.map(|token| Secret::new(token.to_string())),
                },
                again: IAM_AGAIN,
            };
            let now = Timestamp(case["now"].as_u64().unwrap());
            let made = password(&iam, &text(case, "user"), now);
            assert_eq!(*made.expose(), text(case, "password"));
        }
    }
}

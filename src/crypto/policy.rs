//! The policies of signed URLs and cookies: what may be had, until when, since when, and from
//! where.

use crate::base::network::Network;
use crate::semantics::time::Timestamp;

/// What a custom policy says, its resource apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyConditions {
    /// Seconds since the epoch; from then on it is no good.
    pub before: u64,
    /// Until then it is not good yet.
    pub after: Option<u64>,
    pub from: Option<Network>,
}

impl PolicyConditions {
    /// Says whether they hold for a viewer now.
    pub fn hold(&self, now: Timestamp, viewer: std::net::IpAddr) -> bool {
        let seconds = now.secs();
        let is_in_time = seconds < self.before && self.after.is_none_or(|after| seconds > after);
        is_in_time && self.from.is_none_or(|network| network.contains(viewer))
    }
}

/// A custom policy, read. `None` for a resource: everything that the key may sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub resource: Option<String>,
    pub terms: PolicyConditions,
}

/// Reads the JSON of a policy; `None` if it is not one that CloudFront takes.
pub fn parse(json: &[u8]) -> Option<Policy> {
    use serde_json::Value;
    let document: Value = serde_json::from_slice(json).ok()?;
    let statement = match document.get("Statement")? {
        Value::Array(all) if all.len() == 1 => &all[0],
        one @ Value::Object(_) => one,
        _ => return None,
    };
    let resource = match statement.get("Resource") {
        None => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(_) => return None,
    };
    let conditions = statement.get("Condition")?.as_object()?;
    let epoch = |name: &str| match conditions.get(name) {
        None => Some(None),
        Some(said) => said.get("AWS:EpochTime")?.as_u64().map(Some),
    };
    let from = match conditions.get("IpAddress") {
        None => None,
        Some(said) => {
            let text = said.get("AWS:SourceIp")?.as_str()?;
            Some(Network::parse(text).filter(|_| !text.contains(':'))?)
        }
    };
    // A condition that is not understood must not be passed over.
    let is_known =
        |name: &String| matches!(name.as_str(), "DateLessThan" | "DateGreaterThan" | "IpAddress");
    if !conditions.keys().all(is_known) {
        return None;
    }
    Some(Policy {
        resource,
        terms: PolicyConditions {
            before: epoch("DateLessThan")??,
            after: epoch("DateGreaterThan")?,
            from,
        },
    })
}

/// Says whether a policy's resource covers a URL (CloudFront: "Create a signed URL using a custom
/// policy").
///
/// A `*` stays within its section (protocol, domain, path, query), but at the end of a domain it
/// covers path and query too, and at the end of a path the query. `?` is any one character, and
/// also the question mark before a query, because AWS's own tools write that unescaped; `\?` is the
/// question mark alone.
pub fn covers(resource: &str, url: &str) -> bool {
    if resource == "*" {
        return true;
    }
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let resource = match resource.split_once("://") {
        Some((protocol, rest)) => {
            let is_it = match protocol {
                "*" => true,
                _ => glob(&tokens(protocol), scheme, Ends::Whole),
            };
            if !is_it {
                return false;
            }
            rest
        }
        None if resource.starts_with('*') => resource,
        None => return false,
    };
    let cut = rest.find(['/', '?']).unwrap_or(rest.len());
    let (domain, target) = rest.split_at(cut);
    match resource.find('/') {
        // Nothing but a domain.
        None => match resource.strip_suffix('*') {
            Some(start) => glob(&tokens(start), domain, Ends::Anywhere) || (start.is_empty()),
            None => glob(&tokens(resource), domain, Ends::Whole) && matches!(target, "" | "/"),
        },
        Some(at) => {
            let (wanted, path) = resource.split_at(at);
            glob(&tokens(wanted), domain, Ends::Whole) && covers_target(path, target)
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    /// This character.
    Is(u8),
    /// The question mark before a query.
    Mark,
    /// Any one character.
    One,
    Any,
}

// A backslash makes the next character plain.
fn tokens(pattern: &str) -> Vec<Token> {
    let mut all = Vec::with_capacity(pattern.len());
    let mut octets = pattern.bytes();
    while let Some(octet) = octets.next() {
        all.push(match octet {
            b'*' => Token::Any,
            b'?' => Token::One,
            b'\\' => match octets.next() {
                Some(b'?') => Token::Mark,
                Some(next) => Token::Is(next),
                None => Token::Is(b'\\'),
            },
            other => Token::Is(other),
        });
    }
    all
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// The text is covered to its end.
    Whole,
    /// Some beginning of the text is covered.
    Anywhere,
}

// Within one section nothing is special but the wildcards.
fn glob(pattern: &[Token], text: &str, ends: Ends) -> bool {
    reach(pattern, text.as_bytes(), None, ends)
}

// Path and query, with the mark between them at a known place.
fn covers_target(pattern: &str, target: &str) -> bool {
    let target = if target.starts_with('/') { target.to_string() } else { format!("/{target}") };
    let mark = target.bytes().position(|octet| octet == b'?');
    let tokens = tokens(pattern);
    match tokens.split_last() {
        // At the very end it covers whatever is left, the query too.
        Some((Token::Any, start)) => reach(start, target.as_bytes(), mark, Ends::Anywhere),
        _ => reach(&tokens, target.as_bytes(), mark, Ends::Whole),
    }
}

// All places of the text that the pattern can reach, token by token: no pattern makes this take
// longer than the product of both.
fn reach(pattern: &[Token], text: &[u8], mark: Option<usize>, ends: Ends) -> bool {
    let mut here = vec![false; text.len() + 1];
    here[0] = true;
    for token in pattern {
        let mut next = vec![false; text.len() + 1];
        for at in 0..=text.len() {
            if *token == Token::Any {
                // A wildcard stops before the mark.
                let crosses = at > 0 && mark == Some(at - 1);
                next[at] = here[at] || (at > 0 && next[at - 1] && !crosses);
            } else if here[at] && at < text.len() {
                next[at + 1] = match token {
                    Token::Is(octet) => text[at] == *octet,
                    Token::Mark => text[at] == b'?',
                    Token::One | Token::Any => true,
                };
            }
        }
        here = next;
    }
    match ends {
        Ends::Whole => here[text.len()],
        Ends::Anywhere => here.contains(&true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn policies_of_every_tool_are_read() {
        let guide = br#"{ "Statement": { "Resource": "http://a/*", "Condition": { "IpAddress": {"AWS:SourceIp":"192.0.2.0/24"}, "DateGreaterThan":{"AWS:EpochTime":1}, "DateLessThan": {"AWS:EpochTime":2} } } }"#;
        let policy = parse(guide).unwrap();
        assert_eq!(
            (policy.resource.as_deref(), policy.terms.before, policy.terms.after),
            (Some("http://a/*"), 2, Some(1))
        );
        assert!(
            parse(br#"{"Statement":[{"Condition":{"DateLessThan":{"AWS:EpochTime":2}}}]}"#)
                .unwrap()
                .resource
                .is_none()
        );
    }

    #[test]
    fn what_is_not_understood_is_no_policy() {
        for bad in [
            r#"{"Statement":[]}"#,
            r#"{"Statement":[{},{}]}"#,
            r#"{"Statement":[{"Resource":"*"}]}"#,
            r#"{"Statement":[{"Resource":"*","Condition":{}}]}"#,
            r#"{"Statement":[{"Resource":"*","Condition":{"DateLessThan":{"AWS:EpochTime":"2"}}}]}"#,
            r#"{"Statement":[{"Resource":"*","Condition":{"DateLessThan":{"AWS:EpochTime":-2}}}]}"#,
            r#"{"Statement":[{"Resource":["*"],"Condition":{"DateLessThan":{"AWS:EpochTime":2}}}]}"#,
            r#"{"Statement":[{"Condition":{"DateLessThan":{"AWS:EpochTime":2},"IpAddress":{"AWS:SourceIp":"::1"}}}]}"#,
            r#"{"Statement":[{"Condition":{"DateLessThan":{"AWS:EpochTime":2},"StringEquals":{}}}]}"#,
            "",
            "[]",
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn terms_end_and_begin_to_the_second() {
        let terms =
            PolicyConditions { before: 20, after: Some(10), from: Network::parse("192.0.2.0/24") };
        let inside = "192.0.2.9".parse().unwrap();
        for (second, holds) in [(10, false), (11, true), (19, true), (20, false)] {
            assert_eq!(terms.hold(Timestamp::from_secs(second), inside), holds, "{second}");
        }
        assert!(!terms.hold(Timestamp::from_secs(15), "192.0.3.9".parse().unwrap()));
    }

    #[test]
    fn wildcards_stay_in_their_section_however_they_are_put() {
        assert!(
            covers("https://h/a*?b*c", "https://h/aXb?bzc"),
            "an earlier wildcard makes room for a later one"
        );
        assert!(!covers("https://h/a*c", "https://h/a?b=c"));
        assert!(!covers("https://*.h/a", "https://evil.test/x.h/a"));
        assert!(
            !covers("https://h/free/*", "https://h/freer/x")
                && covers("https://h/free/*", "https://h/free/")
        );
        assert!(covers("https://h", "https://h/") && !covers("https://h", "https://h/a"));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(resource in "[*?\\\\/a:]{0,12}", url in "(https?://)?[a/?.]{0,12}") {
            let _ = covers(&resource, &url);
            let _ = parse(resource.as_bytes());
        }
    }
}

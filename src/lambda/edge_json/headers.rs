//! Pure: the `headers` that a function returned, laid over those that it was shown. A line that was
//! not touched keeps its octets.

use serde_json::{Map, Value};

use super::place::LambdaPlace;
use super::rules::{Mistake, Rule, is_blocked, is_read_only};
use crate::functions::rules::as_text;
use crate::message::request::Fields;
use crate::semantics::fields::FieldSection;
use crate::semantics::lists::trim;

/// Octets of all fields together that a function may leave (CloudFront's own bound for requests).
const FIELDS_MAX: usize = 20_480;

/// What a function was shown, and where.
#[derive(Clone, Copy)]
pub struct Shown<'s> {
    pub place: LambdaPlace,
    /// `None`: the function made the message itself.
    pub fields: Option<Fields<'s>>,
    /// What was shown beside them, which the message does not have itself.
    pub extra: &'s [(&'s str, &'s [u8])],
}

/// One name with its values.
type Group<'v> = (String, Vec<&'v str>);

/// The fields that the message is to have; `None` if they are as they were.
pub fn merged(
    shown: &Shown<'_>,
    returned: Option<&Value>,
) -> Result<Option<FieldSection>, Mistake> {
    let returned = match returned {
        None | Some(Value::Null) if shown.fields.is_some() => return Ok(None),
        None | Some(Value::Null) => return Ok(Some(FieldSection::new())),
        Some(Value::Object(map)) => groups(map)?,
        Some(other) => return Err(Mistake::new(Rule::Object, "headers", &other.to_string())),
    };
    let mut out = FieldSection::new();
    let is_same = match shown.fields {
        Some(fields) => lay_over(shown, fields, &returned, &mut out)?,
        None => {
            for (name, values) in &returned {
                // How long a message is the edge sees by itself.
                if !matches!(name.as_str(), "content-length" | "transfer-encoding") {
                    may_add(shown.place, name)?;
                    append(name, values, &mut out)?;
                }
            }
            false
        }
    };
    if out.lines_len() > FIELDS_MAX && !is_same {
        return Err(Mistake::new(Rule::HeadersSize, "headers", &out.lines_len().to_string()));
    }
    Ok((!is_same).then_some(out))
}

// Lines that were shown, as they are or as they were changed, then those of new names. Says whether
// nothing changed.
fn lay_over(
    shown: &Shown<'_>,
    fields: Fields<'_>,
    returned: &[Group<'_>],
    out: &mut FieldSection,
) -> Result<bool, Mistake> {
    let mut is_same = true;
    let mut settled: Vec<&str> = Vec::new();
    for (spelled, value) in fields.iter() {
        let name = spelled.to_ascii_lowercase();
        if is_blocked(shown.place, &name) && !name.starts_with("cloudfront-") {
            // It was not shown, so that it is missing means nothing.
            out.push(spelled, value);
            continue;
        }
        let Some((known, values)) = returned.iter().find(|(known, _)| *known == name) else {
            if name == "via" && !shown.place.is_request() {
                // CloudFront shows none in a response: one that a function made anew has none.
                out.push(spelled, value);
                continue;
            }
            may_change(shown.place, &name)?;
            is_same = false;
            continue;
        };
        if fields.get_all(&name).map(as_text).eq(values.iter().copied()) {
            out.push(spelled, value);
        } else if !settled.contains(&known.as_str()) {
            may_change(shown.place, &name)?;
            append(&name, values, out)?;
            is_same = false;
        }
        settled.push(known);
    }
    for (name, values) in returned.iter().filter(|(name, _)| !settled.contains(&name.as_str())) {
        let beside = shown.extra.iter().find(|(known, _)| known == name);
        let is_as_shown =
            beside.is_some_and(|(_, value)| values.len() == 1 && *values[0] == *as_text(value));
        // An empty array is as good as none.
        if is_as_shown || values.is_empty() {
            continue;
        }
        may_add(shown.place, name)?;
        append(name, values, out)?;
        is_same = false;
    }
    Ok(is_same)
}

// Values may be secrets of a viewer: no mistake tells them.
fn may_change(place: LambdaPlace, name: &str) -> Result<(), Mistake> {
    if is_read_only(place, name) {
        return Err(Mistake::new(Rule::ReadOnlyHeader, format!("headers.{name}"), ""));
    }
    Ok(())
}

fn may_add(place: LambdaPlace, name: &str) -> Result<(), Mistake> {
    if is_blocked(place, name) {
        return Err(Mistake::new(Rule::BlockedHeader, format!("headers.{name}"), ""));
    }
    may_change(place, name)
}

fn append(name: &str, values: &[&str], out: &mut FieldSection) -> Result<(), Mistake> {
    // How long a message is the edge sees by itself; in requests it is read-only.
    if name == "content-length" {
        return Ok(());
    }
    for value in values {
        let is_bad = value.chars().any(|c| c.is_control() && c != '\t');
        if is_bad || !out.append(name, trim(value.as_bytes())) {
            return Err(Mistake::new(Rule::HeaderValue, format!("headers.{name}"), ""));
        }
    }
    Ok(())
}

/// Names in lower case with their values, as `{name: [{key, value}]}` has them. Two spellings of
/// one name are one.
pub fn groups(map: &Map<String, Value>) -> Result<Vec<Group<'_>>, Mistake> {
    let mut all: Vec<Group<'_>> = Vec::with_capacity(map.len());
    for (spelled, entries) in map {
        let path = || format!("headers.{spelled}");
        let name = spelled.to_ascii_lowercase();
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(Mistake::new(Rule::HeaderName, path(), spelled));
        }
        let Value::Array(entries) = entries else {
            return Err(Mistake::new(Rule::HeaderArray, path(), ""));
        };
        let mut values = Vec::with_capacity(entries.len());
        for entry in entries {
            let Some(value) = entry.get("value").and_then(Value::as_str) else {
                return Err(Mistake::new(Rule::HeaderEntry, path(), ""));
            };
            // The name is the map's. A key beside the value spells it, or is left from another name
            // whose entry was taken, as in CloudFront's own example.
            if entry.get("key").is_some_and(|key| !key.is_null() && !key.is_string()) {
                return Err(Mistake::new(Rule::HeaderName, path(), ""));
            }
            values.push(value);
        }
        match all.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => known.append(&mut values),
            None => all.push((name, values)),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::samples::section;
    use super::*;

    const SHOWN: &[(&str, &str)] = &[
        ("Host", "example.org"),
        ("X-A", "1"),
        ("X-A", "2"),
        ("Via", "1.1 a"),
        ("X-Cache", "Miss"),
    ];

    fn told(place: LambdaPlace, returned: &Value) -> Result<Option<Vec<String>>, Rule> {
        let fields = section(SHOWN);
        let extra: [(&str, &[u8]); 1] = [("cloudfront-viewer-country", b"DE")];
        let shown = Shown { place, fields: Some(Fields::Section(&fields)), extra: &extra };
        let made = merged(&shown, Some(returned)).map_err(|mistake| mistake.rule)?;
        Ok(made.map(|fields| {
            let line = |name: &str, value: &[u8]| format!("{name}: {}", as_text(value));
            fields.iter().map(|(name, value)| line(name.spelled(), value.as_bytes())).collect()
        }))
    }

    fn shown_back() -> Value {
        json!({
            "host": [{"key": "Host", "value": "example.org"}],
            "x-a": [{"key": "X-A", "value": "1"}, {"value": "2"}],
            "via": [{"key": "Via", "value": "1.1 a"}],
            "cloudfront-viewer-country": [{"value": "DE"}],
        })
    }

    #[test]
    fn what_comes_back_as_it_was_is_no_change() {
        for place in [LambdaPlace::ViewerRequest, LambdaPlace::OriginRequest] {
            assert_eq!(told(place, &shown_back()), Ok(None));
            assert_eq!(told(place, &Value::Null), Ok(None));
        }
    }

    #[test]
    fn changed_lines_are_laid_over_the_others() {
        let mut returned = shown_back();
        returned["x-a"] = json!([{"value": "3"}]);
        returned["X-New"] = json!([{"key": "x-new", "value": "ü"}, {"value": " b "}]);
        returned["x-empty"] = json!([]);
        // As it stood under another name.
        returned["x-other"] = json!([{"key": "X-A", "value": "1"}]);
        assert_eq!(
            told(LambdaPlace::OriginRequest, &returned),
            Ok(Some(vec![
                "Host: example.org".into(),
                "X-A: 3".into(),
                "Via: 1.1 a".into(),
                "X-Cache: Miss".into(),
                "X-New: ü".into(),
                "X-New: b".into(),
                "X-Other: 1".into(),
            ]))
        );
    }

    #[test]
    fn a_response_made_anew_keeps_its_via() {
        for place in [LambdaPlace::OriginResponse, LambdaPlace::ViewerResponse] {
            let kept = vec!["Via: 1.1 a".to_string(), "X-Cache: Miss".into(), "X-B: 1".into()];
            assert_eq!(told(place, &json!({"x-b": [{"value": "1"}]})), Ok(Some(kept)));
            for values in [json!([]), json!([{"value": "1.1 b"}])] {
                assert_eq!(told(place, &json!({"via": values})), Err(Rule::ReadOnlyHeader));
            }
        }
    }

    #[test]
    fn each_rule_about_headers_has_its_name() {
        let with = |name: &str, value: Value| {
            let mut returned = shown_back();
            returned[name] = value;
            returned
        };
        let without = |name: &str| {
            let mut returned = shown_back();
            returned.as_object_mut().unwrap().remove(name);
            returned
        };
        let place = LambdaPlace::ViewerRequest;
        for (returned, rule) in [
            (with("host", json!([{"value": "b"}])), Rule::ReadOnlyHeader),
            (with("via", json!([])), Rule::ReadOnlyHeader),
            (without("via"), Rule::ReadOnlyHeader),
            (with("transfer-encoding", json!([{"value": "chunked"}])), Rule::ReadOnlyHeader),
            (with("x-cache", json!([{"value": "Hit"}])), Rule::BlockedHeader),
            (with("x-amz-cf-id", json!([{"value": "a"}])), Rule::BlockedHeader),
            (with("cloudfront-viewer-city", json!([{"value": "a"}])), Rule::BlockedHeader),
            (with("x-b", json!("text")), Rule::HeaderArray),
            (with("x-b", json!(["text"])), Rule::HeaderEntry),
            (with("x-b", json!([{"key": "X-B"}])), Rule::HeaderEntry),
            (with("x-b", json!([{"value": 1}])), Rule::HeaderEntry),
            (with("x-b", json!([{"key": 5, "value": "1"}])), Rule::HeaderName),
            (with("x b", json!([{"value": "1"}])), Rule::HeaderName),
            (with("x-b", json!([{"value": "a\r\nb: c"}])), Rule::HeaderValue),
            (with("x-b", json!([{"value": "x".repeat(30_000)}])), Rule::HeadersSize),
            (json!([]), Rule::Object),
        ] {
            assert_eq!(told(place, &returned), Err(rule), "{returned}");
        }
        // Host belongs to the origin's request; a header may go.
        let at_origin = with("host", json!([{"value": "b"}]));
        assert!(told(LambdaPlace::OriginRequest, &at_origin).unwrap().is_some());
        assert!(told(place, &without("x-a")).unwrap().is_some());
    }

    #[test]
    fn a_made_message_has_its_own_fields_and_none_that_frame_it() {
        let shown = Shown { place: LambdaPlace::ViewerRequest, fields: None, extra: &[] };
        let returned = json!({"location": [{"value": "/b"}], "content-length": [{"value": "9"}]});
        let made = merged(&shown, Some(&returned)).unwrap().unwrap();
        assert_eq!(made.len(), 1);
        assert!(made.contains("location"));
        assert_eq!(merged(&shown, None).unwrap().unwrap().len(), 0);
    }
}

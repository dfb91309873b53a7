//! Pure: what code asks of the origin by `updateRequestOrigin`, `selectRequestOriginById` and
//! `createRequestOriginGroup`, read from the JSON of their arguments.
//!
//! Names that are not known are left alone, as CloudFront leaves them: its own samples give some.
//! Whether an origin may be chosen, and what one that is chosen becomes, is not decided here.

use serde_json::{Map, Value};

use crate::functions::event::{AccessControlOut, OriginChoice, OriginOverrides};

type Object = Map<String, Value>;

/// Statuses that a group may fail over by.
const FAILOVER: [u64; 9] = [400, 403, 404, 416, 429, 500, 502, 503, 504];
const CERTIFICATE_NAMES_MAX: usize = 20;

/// Reads a call: 0 updates, 1 selects, 2 makes a group. An error says what is wrong with it.
pub fn choice(kind: i32, given: &str) -> Result<OriginChoice, String> {
    let given: Vec<Value> =
        serde_json::from_str(given).map_err(|_| "the argument is not an object".to_string())?;
    let first = given.first().unwrap_or(&Value::Null);
    match kind {
        0 => Ok(OriginChoice::Update(update(object(first, "the argument")?)?)),
        1 => {
            let id = first.as_str().filter(|id| !id.is_empty()).ok_or("the id is not text")?;
            let overrides = match given.get(1) {
                None | Some(Value::Null) => OriginOverrides::default(),
                Some(value) => selected(object(value, "the second argument")?)?,
            };
            Ok(OriginChoice::Select { id: id.to_string(), overrides })
        }
        _ => group(object(first, "the argument")?),
    }
}

fn object<'v>(value: &'v Value, what: &str) -> Result<&'v Object, String> {
    value.as_object().ok_or_else(|| format!("{what} is not an object"))
}

// What is there; null counts as absent.
fn find<'v>(of: &'v Object, name: &str) -> Option<&'v Value> {
    of.get(name).filter(|value| !value.is_null())
}

fn text(of: &Object, name: &str) -> Result<Option<String>, String> {
    find(of, name)
        .map(|value| {
            value.as_str().map(str::to_string).ok_or_else(|| format!("{name} is not text"))
        })
        .transpose()
}

fn part<'v>(of: &'v Object, name: &str) -> Result<Option<&'v Object>, String> {
    find(of, name).map(|value| object(value, name)).transpose()
}

fn number(of: &Object, name: &str, least: u32, most: u32) -> Result<Option<u32>, String> {
    let Some(value) = find(of, name) else { return Ok(None) };
    // JSON of a script has no difference between 5 and 5.0.
    let whole = value.as_f64().filter(|number| number.fract() == 0.0 && *number >= 0.0);
    whole
        .map(|number| number as u32)
        .filter(|number| (least..=most).contains(number))
        .map(Some)
        .ok_or_else(|| format!("{name} is not a whole number from {least} to {most}"))
}

fn flag(of: &Object, name: &str) -> Result<bool, String> {
    let value = find(of, name).ok_or_else(|| format!("{name} is missing"))?;
    value.as_bool().ok_or_else(|| format!("{name} is not a boolean"))
}

fn texts(of: &Object, name: &str) -> Result<Option<Vec<String>>, String> {
    let Some(value) = find(of, name) else { return Ok(None) };
    let wrong = || format!("{name} is not a list of texts");
    let all = value.as_array().ok_or_else(wrong)?;
    let all: Option<Vec<String>> = all.iter().map(|one| one.as_str().map(str::to_string)).collect();
    all.map(Some).ok_or_else(wrong)
}

// What all three may say.
fn selected(of: &Object) -> Result<OriginOverrides, String> {
    let names = texts(of, "allowedCertificateNames")?;
    if names.as_ref().is_some_and(|names| names.len() > CERTIFICATE_NAMES_MAX) {
        return Err(format!("allowedCertificateNames has more than {CERTIFICATE_NAMES_MAX} names"));
    }
    Ok(OriginOverrides {
        host_header: text(of, "hostHeader")?,
        sni: text(of, "sni")?,
        allowed_certificate_names: names,
        ..OriginOverrides::default()
    })
}

fn update(of: &Object) -> Result<OriginOverrides, String> {
    let none = Object::new();
    let timeouts = part(of, "timeouts")?.unwrap_or(&none);
    let custom = part(of, "customOriginConfig")?.unwrap_or(&none);
    let port = number(custom, "port", 1, u32::from(u16::MAX))?;
    let shield = part(of, "originShield")?.map(|shield| flag(shield, "enabled")).transpose()?;
    Ok(OriginOverrides {
        domain_name: domain(of)?,
        origin_path: path(of)?,
        custom_headers: headers(of)?,
        connection_attempts: number(of, "connectionAttempts", 1, 3)?,
        shield,
        access_control: access_control(of)?,
        read_timeout: number(timeouts, "readTimeout", 1, 120)?,
        completion_timeout: number(timeouts, "responseCompletionTimeout", 1, 86_400)?,
        keep_alive_timeout: number(timeouts, "keepAliveTimeout", 1, 120)?,
        connection_timeout: number(timeouts, "connectionTimeout", 1, 10)?,
        port: port.and_then(|port| u16::try_from(port).ok()),
        protocol: protocol(custom)?,
        tls_protocols: texts(custom, "sslProtocols")?,
        without_identity: without_identity(of)?,
        ..selected(of)?
    })
}

fn without_identity(of: &Object) -> Result<bool, String> {
    match text(of, "mTLSConfig")?.as_deref() {
        None => Ok(false),
        Some("off") => Ok(true),
        Some(_) => Err("mTLSConfig is not off".to_string()),
    }
}

fn domain(of: &Object) -> Result<Option<String>, String> {
    let Some(name) = text(of, "domainName")? else { return Ok(None) };
    let is_address = name.parse::<std::net::Ipv4Addr>().is_ok();
    if name.is_empty() || name.contains([':', '/', ' ']) || is_address {
        return Err("domainName is not the name of a host".to_string());
    }
    Ok(Some(name))
}

fn path(of: &Object) -> Result<Option<String>, String> {
    let path = text(of, "originPath")?;
    match &path {
        Some(path) if !path.is_empty() && (!path.starts_with('/') || path.ends_with('/')) => {
            Err("originPath does not begin with / or ends with it".to_string())
        }
        _ => Ok(path),
    }
}

fn protocol(custom: &Object) -> Result<Option<String>, String> {
    match text(custom, "protocol")? {
        Some(protocol) if protocol != "http" && protocol != "https" => {
            Err("protocol is neither http nor https".to_string())
        }
        protocol => Ok(protocol),
    }
}

fn headers(of: &Object) -> Result<Option<Vec<(String, String)>>, String> {
    let Some(all) = part(of, "customHeaders")? else { return Ok(None) };
    let pair = |(name, value): (&String, &Value)| -> Result<(String, String), String> {
        let value = value.as_str().ok_or_else(|| format!("customHeaders.{name} is not text"))?;
        Ok((name.clone(), value.to_string()))
    };
    all.iter().map(pair).collect::<Result<Vec<_>, _>>().map(Some)
}

fn access_control(of: &Object) -> Result<Option<Option<AccessControlOut>>, String> {
    let Some(config) = part(of, "originAccessControlConfig")? else { return Ok(None) };
    if !flag(config, "enabled")? {
        return Ok(Some(None));
    }
    let one_of = |name: &str, known: &[&str], missing: Option<&str>| {
        let value = text(config, name)?.or_else(|| missing.map(str::to_string));
        value
            .filter(|value| known.contains(&value.as_str()))
            .ok_or_else(|| format!("{name} is none of {}", known.join(", ")))
    };
    one_of("signingProtocol", &["sigv4"], Some("sigv4"))?;
    let behaviors = ["always", "never", "no-override"];
    Ok(Some(Some(AccessControlOut {
        signing_behavior: one_of("signingBehavior", &behaviors, Some("always"))?,
        origin_type: one_of("originType", &["s3", "mediapackagev2", "mediastore", "lambda"], None)?,
    })))
}

fn group(of: &Object) -> Result<OriginChoice, String> {
    let ids = find(of, "originIds").and_then(Value::as_array).filter(|ids| ids.len() == 2);
    let ids = ids.ok_or("originIds is not a list of two origins")?;
    let members = ids.iter().map(member).collect::<Result<Vec<_>, String>>()?;
    let criteria = part(of, "failoverCriteria")?.ok_or("failoverCriteria is missing")?;
    let statuses = find(criteria, "statusCodes").and_then(Value::as_array);
    let statuses = statuses.filter(|all| !all.is_empty()).ok_or("statusCodes is not a list")?;
    let status = |value: &Value| {
        let status = value.as_u64().filter(|status| FAILOVER.contains(status));
        status
            .and_then(|status| u16::try_from(status).ok())
            .ok_or_else(|| format!("{value} is no status that an origin group fails over by"))
    };
    let statuses = statuses.iter().map(status).collect::<Result<Vec<_>, String>>()?;
    match text(of, "selectionCriteria")?.as_deref() {
        None | Some("default" | "media-quality-score") => {}
        Some(_) => {
            return Err("selectionCriteria is neither default nor media-quality-score".into());
        }
    }
    Ok(OriginChoice::Group { members, statuses })
}

// CloudFront's guide has both: the id by itself, and an object with what is overridden beside it.
fn member(value: &Value) -> Result<(String, OriginOverrides), String> {
    if let Some(id) = value.as_str() {
        return Ok((id.to_string(), OriginOverrides::default()));
    }
    let member = object(value, "an origin of originIds")?;
    let id = text(member, "originId")?.ok_or("originId is missing")?;
    let overrides = part(member, "originOverrides")?.map(update).transpose()?;
    Ok((id, overrides.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_code_asks_for_is_read() {
        let all = r#"[{"domainName":"b.example","hostHeader":"h","originPath":"/p",
            "customHeaders":{"x-a":"1"},"connectionAttempts":2,"region":"eu",
            "originShield":{"enabled":true,"region":"eu-central-1"},
            "originAccessControlConfig":{"enabled":true,"signingBehavior":"always",
                "signingProtocol":"sigv4","originType":"s3","region":"eu-central-1"},
            "timeouts":{"readTimeout":30,"keepAliveTimeout":5,"connectionTimeout":3.0},
            "customOriginConfig":{"port":8443,"protocol":"https","sslProtocols":["TLSv1.2"]},
            "sni":"s","allowedCertificateNames":["n"],"mTLSConfig":"off"}]"#;
        let text = |text: &str| Some(text.to_string());
        let wanted = OriginOverrides {
            domain_name: text("b.example"),
            host_header: text("h"),
            origin_path: text("/p"),
            custom_headers: Some(vec![("x-a".into(), "1".into())]),
            connection_attempts: Some(2),
            shield: Some(true),
            access_control: Some(Some(AccessControlOut {
                signing_behavior: "always".into(),
                origin_type: "s3".into(),
            })),
            read_timeout: Some(30),
            completion_timeout: None,
            keep_alive_timeout: Some(5),
            connection_timeout: Some(3),
            port: Some(8443),
            protocol: text("https"),
            tls_protocols: Some(vec!["TLSv1.2".into()]),
            sni: text("s"),
            allowed_certificate_names: Some(vec!["n".into()]),
            without_identity: true,
        };
        assert_eq!(choice(0, all), Ok(OriginChoice::Update(wanted)));

        let select = choice(1, r#"["two",{"hostHeader":"h"}]"#);
        let overrides = OriginOverrides { host_header: text("h"), ..OriginOverrides::default() };
        assert_eq!(select, Ok(OriginChoice::Select { id: "two".into(), overrides }));

        let two = r#"[{"originIds":[{"originId":"a"},{"originId":"b","originOverrides":{"sni":"s"}}],
            "selectionCriteria":"default","failoverCriteria":{"statusCodes":[500,404]}}]"#;
        let members = vec![
            ("a".to_string(), OriginOverrides::default()),
            ("b".to_string(), OriginOverrides { sni: text("s"), ..OriginOverrides::default() }),
        ];
        assert_eq!(choice(2, two), Ok(OriginChoice::Group { members, statuses: vec![500, 404] }));

        let texts =
            r#"[{"originIds":["a",{"originId":"b"}],"failoverCriteria":{"statusCodes":[503]}}]"#;
        let members = Vec::from(["a", "b"].map(|id| (id.to_string(), OriginOverrides::default())));
        assert_eq!(choice(2, texts), Ok(OriginChoice::Group { members, statuses: vec![503] }));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (kind, given, wanted) in [
            (0, "[null]", "the argument is not an object"),
            (0, r#"[{"domainName":"a:80"}]"#, "domainName is not the name of a host"),
            (0, r#"[{"domainName":"192.0.2.1"}]"#, "domainName is not the name of a host"),
            (0, r#"[{"domainName":5}]"#, "domainName is not text"),
            (0, r#"[{"originPath":"p"}]"#, "originPath does not begin with / or ends with it"),
            (
                0,
                r#"[{"connectionAttempts":4}]"#,
                "connectionAttempts is not a whole number from 1 to 3",
            ),
            (
                0,
                r#"[{"timeouts":{"readTimeout":1.5}}]"#,
                "readTimeout is not a whole number from 1 to 120",
            ),
            (0, r#"[{"customHeaders":{"a":1}}]"#, "customHeaders.a is not text"),
            (0, r#"[{"originAccessControlConfig":{}}]"#, "enabled is missing"),
            (
                0,
                r#"[{"originAccessControlConfig":{"enabled":true,"originType":"x"}}]"#,
                "originType is none of s3, mediapackagev2, mediastore, lambda",
            ),
            (
                0,
                r#"[{"customOriginConfig":{"protocol":"ftp"}}]"#,
                "protocol is neither http nor https",
            ),
            (0, r#"[{"mTLSConfig":"on"}]"#, "mTLSConfig is not off"),
            (1, "[5]", "the id is not text"),
            (2, r#"[{"originIds":[{"originId":"a"}]}]"#, "originIds is not a list of two origins"),
            (
                2,
                r#"[{"originIds":["a",5],"failoverCriteria":{"statusCodes":[503]}}]"#,
                "an origin of originIds is not an object",
            ),
            (
                2,
                r#"[{"originIds":[{"originId":"a"},{"originId":"b"}],"failoverCriteria":{"statusCodes":[200]}}]"#,
                "200 is no status that an origin group fails over by",
            ),
        ] {
            assert_eq!(choice(kind, given), Err(wanted.to_string()), "{given}");
        }
    }

    #[test]
    fn what_is_cleared_is_not_what_is_absent() {
        let clear = r#"[{"customHeaders":{},"originAccessControlConfig":{"enabled":false}}]"#;
        let wanted = OriginOverrides {
            custom_headers: Some(Vec::new()),
            access_control: Some(None),
            ..OriginOverrides::default()
        };
        assert_eq!(choice(0, clear), Ok(OriginChoice::Update(wanted)));
    }
}

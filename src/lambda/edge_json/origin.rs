//! Pure: the `origin` of an origin request, as it is shown and as a function may leave it
//! (CloudFront: "Lambda@Edge event structure", custom and S3 origins).

use serde_json::{Map, Value};

use super::headers::groups;
use super::json::{capitalised, member, string};
use super::rules::{Mistake, Rule};

/// Custom headers: names in lower case, each with its value.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

// What is sent to an origin beside the rest is often what it knows the edge by.
impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginOut {
    Custom(CustomOrigin),
    S3(S3Origin),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomOrigin {
    pub headers: Headers,
    pub domain_name: String,
    /// Put before the path; begins with a slash or is empty.
    pub path: String,
    pub port: u16,
    pub is_https: bool,
    /// Seconds.
    pub read_timeout: u32,
    /// Seconds.
    pub keep_alive_timeout: u32,
    /// Such as `TLSv1.2`.
    pub tls_protocols: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Origin {
    pub headers: Headers,
    pub domain_name: String,
    pub path: String,
    /// `origin-access-identity` rather than `none`: requests are signed.
    pub is_signed: bool,
    pub region: String,
}

/// The most of CloudFront's seconds for an answer, and for an idle connection.
const TIMEOUT_MAX: u32 = 120;
const TLS_PROTOCOLS: [&str; 4] = ["SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2"];

impl OriginOut {
    pub const fn headers(&self) -> &Headers {
        match self {
            Self::Custom(origin) => &origin.headers,
            Self::S3(origin) => &origin.headers,
        }
    }

    pub fn domain_name(&self) -> &str {
        match self {
            Self::Custom(origin) => &origin.domain_name,
            Self::S3(origin) => &origin.domain_name,
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Custom(origin) => origin.write(out),
            Self::S3(origin) => origin.write(out),
        }
    }

    /// Reads what a function returned. What is as it was shown is not looked at again: an operator
    /// may have settings that CloudFront does not know.
    pub fn read(value: &Value, shown: Option<&Self>) -> Result<Self, Mistake> {
        let at = Place { path: "origin" };
        let object = at.object(value)?;
        let member = |name: &str| object.get(name).filter(|value| !value.is_null());
        match (member("custom"), member("s3")) {
            (Some(custom), None) => {
                let was = match shown {
                    Some(Self::Custom(was)) => Some(was),
                    _ => None,
                };
                Ok(Self::Custom(CustomOrigin::read(custom, was)?))
            }
            (None, Some(s3)) => {
                let was = match shown {
                    Some(Self::S3(was)) => Some(was),
                    _ => None,
                };
                Ok(Self::S3(S3Origin::read(s3, was)?))
            }
            _ => Err(Mistake::new(Rule::Origin, "origin", "not one of custom and s3")),
        }
    }
}

fn write_headers(headers: &Headers, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"customHeaders\":{");
    for (at, (name, value)) in headers.0.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        string(name, out);
        out.extend_from_slice(b":[{\"key\":");
        string(&capitalised(name), out);
        member("value", value, out);
        out.extend_from_slice(b"}]");
    }
    out.push(b'}');
}

fn number(name: &str, value: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(format!(",\"{name}\":{value}").as_bytes());
}

impl CustomOrigin {
    fn write(&self, out: &mut Vec<u8>) {
        write_headers(&self.headers, out);
        member("domainName", &self.domain_name, out);
        number("keepaliveTimeout", self.keep_alive_timeout, out);
        member("path", &self.path, out);
        number("port", self.port.into(), out);
        member("protocol", if self.is_https { "https" } else { "http" }, out);
        number("readTimeout", self.read_timeout, out);
        out.extend_from_slice(b",\"sslProtocols\":[");
        for (at, protocol) in self.tls_protocols.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            string(protocol, out);
        }
        out.extend_from_slice(b"]}");
    }

    fn read(value: &Value, was: Option<&Self>) -> Result<Self, Mistake> {
        let at = Place { path: "origin.custom" };
        let object = at.object(value)?;
        let port = at.number(object, "port", was.map(|was| was.port.into()), |port| {
            matches!(port, 80 | 443 | 1024..=65535)
        })?;
        let protocol = at.text(object, "protocol")?;
        let is_https = match protocol.as_str() {
            "https" => true,
            "http" => false,
            other => return Err(at.wrong("protocol", other)),
        };
        let tls_protocols = match object.get("sslProtocols") {
            None | Some(Value::Null) => was.map_or_else(Vec::new, |was| was.tls_protocols.clone()),
            Some(Value::Array(all)) => all
                .iter()
                .map(|one| match one.as_str() {
                    Some(name) if TLS_PROTOCOLS.contains(&name) || was_there(was, name) => {
                        Ok(name.to_string())
                    }
                    _ => Err(at.wrong("sslProtocols", &one.to_string())),
                })
                .collect::<Result<_, _>>()?,
            Some(other) => return Err(at.wrong("sslProtocols", &other.to_string())),
        };
        let timeout = |name: &str, was: Option<u32>, least: u32| {
            at.number(object, name, was, |seconds| (least..=TIMEOUT_MAX).contains(&seconds))
        };
        Ok(Self {
            headers: at.headers(object)?,
            domain_name: at.domain_name(object, was.map(|was| was.domain_name.as_str()))?,
            path: at.origin_path(object)?,
            port: u16::try_from(port).unwrap_or_default(),
            is_https,
            read_timeout: timeout("readTimeout", was.map(|was| was.read_timeout), 1)?,
            keep_alive_timeout: timeout(
                "keepaliveTimeout",
                was.map(|was| was.keep_alive_timeout),
                1,
            )?,
            tls_protocols,
        })
    }
}

fn was_there(was: Option<&CustomOrigin>, protocol: &str) -> bool {
    was.is_some_and(|was| was.tls_protocols.iter().any(|known| known == protocol))
}

impl S3Origin {
    fn write(&self, out: &mut Vec<u8>) {
        write_headers(&self.headers, out);
        let method = if self.is_signed { "origin-access-identity" } else { "none" };
        member("authMethod", method, out);
        member("domainName", &self.domain_name, out);
        member("path", &self.path, out);
        member("region", &self.region, out);
        out.push(b'}');
    }

    fn read(value: &Value, was: Option<&Self>) -> Result<Self, Mistake> {
        let at = Place { path: "origin.s3" };
        let object = at.object(value)?;
        let is_signed = match at.text(object, "authMethod")?.as_str() {
            "origin-access-identity" => true,
            "none" => false,
            other => return Err(at.wrong("authMethod", other)),
        };
        let region = match object.get("region") {
            None | Some(Value::Null) => was.map_or_else(String::new, |was| was.region.clone()),
            Some(_) => at.text(object, "region")?,
        };
        if is_signed && region.is_empty() {
            return Err(at.wrong("region", "nothing, and authMethod is origin-access-identity"));
        }
        Ok(Self {
            headers: at.headers(object)?,
            domain_name: at.domain_name(object, was.map(|was| was.domain_name.as_str()))?,
            path: at.origin_path(object)?,
            is_signed,
            region,
        })
    }
}

/// A place in the returned value, for what is said of a mistake there.
#[derive(Clone, Copy)]
struct Place {
    path: &'static str,
}

impl Place {
    fn wrong(self, member: &str, found: &str) -> Mistake {
        Mistake::new(Rule::Origin, format!("{}.{member}", self.path), found)
    }

    fn object(self, value: &Value) -> Result<&Map<String, Value>, Mistake> {
        value.as_object().ok_or_else(|| Mistake::new(Rule::Origin, self.path, &value.to_string()))
    }

    fn text(self, object: &Map<String, Value>, name: &str) -> Result<String, Mistake> {
        match object.get(name) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other) => Err(self.wrong(name, &other.to_string())),
            None => Err(self.wrong(name, "nothing")),
        }
    }

    // A number, or a text of one as some functions have it.
    fn number(
        self,
        object: &Map<String, Value>,
        name: &str,
        was: Option<u32>,
        is_good: impl Fn(u32) -> bool,
    ) -> Result<u32, Mistake> {
        let found = match object.get(name) {
            None | Some(Value::Null) => return was.ok_or_else(|| self.wrong(name, "nothing")),
            Some(Value::String(text)) => text.parse().ok(),
            Some(other) => other.as_u64().and_then(|number| u32::try_from(number).ok()),
        };
        let good = found.filter(|number| was == Some(*number) || is_good(*number));
        good.ok_or_else(|| {
            self.wrong(name, &object.get(name).map_or_else(String::new, Value::to_string))
        })
    }

    fn domain_name(
        self,
        object: &Map<String, Value>,
        was: Option<&str>,
    ) -> Result<String, Mistake> {
        let name = self.text(object, "domainName")?;
        let is_name = !name.is_empty()
            && name.len() <= 253
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
            && name.parse::<std::net::IpAddr>().is_err();
        if is_name || was == Some(name.as_str()) {
            return Ok(name);
        }
        Err(self.wrong("domainName", &name))
    }

    fn origin_path(self, object: &Map<String, Value>) -> Result<String, Mistake> {
        let path = match object.get("path") {
            None | Some(Value::Null) => String::new(),
            Some(_) => self.text(object, "path")?,
        };
        let is_path = path.is_empty()
            || (path.starts_with('/')
                && !path.ends_with('/')
                && path.len() <= 255
                && path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#'))
                && crate::message::path::is_safe_path(&path));
        if is_path { Ok(path) } else { Err(self.wrong("path", &path)) }
    }

    fn headers(self, object: &Map<String, Value>) -> Result<Headers, Mistake> {
        let map = match object.get("customHeaders") {
            None | Some(Value::Null) => return Ok(Headers::default()),
            Some(value) => value.as_object(),
        };
        let map = map.ok_or_else(|| self.wrong("customHeaders", "no object"))?;
        let mut all = Vec::new();
        for (name, values) in groups(map)? {
            // Another value of one name would take the place of the first.
            let [value] = values[..] else {
                return Err(self.wrong("customHeaders", &name));
            };
            if value.chars().any(char::is_control) {
                return Err(self.wrong("customHeaders", &name));
            }
            all.push((name, value.to_string()));
        }
        Ok(Headers(all))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::samples::custom;
    use super::*;

    fn s3() -> OriginOut {
        OriginOut::S3(S3Origin {
            headers: Headers::default(),
            domain_name: "b.s3.us-east-1.amazonaws.com".into(),
            path: "/a".into(),
            is_signed: true,
            region: "us-east-1".into(),
        })
    }

    fn shown(origin: &OriginOut) -> Value {
        let mut out = Vec::new();
        origin.write(&mut out);
        let (name, value) = match origin {
            OriginOut::Custom(_) => ("custom", serde_json::from_slice::<Value>(&out).unwrap()),
            OriginOut::S3(_) => ("s3", serde_json::from_slice(&out).unwrap()),
        };
        json!({ name: value })
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for origin in [custom(), s3()] {
            assert_eq!(OriginOut::read(&shown(&origin), None), Ok(origin));
        }
        assert_eq!(
            shown(&custom())["custom"]["customHeaders"],
            json!({"x-env": [{"key": "X-Env", "value": "a"}]})
        );
    }

    #[test]
    fn each_member_is_held_to_its_rule() {
        for (member, value) in [
            ("port", json!(81)),
            ("port", json!(70_000)),
            ("port", json!("x")),
            ("protocol", json!("ftp")),
            ("protocol", Value::Null),
            ("domainName", json!("")),
            ("domainName", json!("a:80")),
            ("domainName", json!("10.0.0.1")),
            ("domainName", json!("a/b")),
            ("path", json!("a")),
            ("path", json!("/a/")),
            ("path", json!("/../a")),
            ("path", json!("/a?b")),
            ("readTimeout", json!(0)),
            ("readTimeout", json!(121)),
            ("keepaliveTimeout", json!(-1)),
            ("sslProtocols", json!(["TLSv9"])),
            ("sslProtocols", json!("TLSv1.2")),
            ("customHeaders", json!([])),
            ("customHeaders", json!({"a": [{"value": "1"}, {"value": "2"}]})),
        ] {
            let mut returned = shown(&custom());
            returned["custom"][member] = value.clone();
            let rule = OriginOut::read(&returned, None).map_err(|mistake| mistake.rule);
            assert_eq!(rule, Err(Rule::Origin), "{member} = {value}");
        }
        let mut returned = shown(&s3());
        returned["s3"]["authMethod"] = json!("all");
        assert!(OriginOut::read(&returned, None).is_err());
        returned["s3"] = json!({"authMethod": "origin-access-identity", "domainName": "b"});
        assert!(OriginOut::read(&returned, None).is_err());
        let both = json!({"s3": shown(&s3())["s3"], "custom": shown(&custom())["custom"]});
        assert!(OriginOut::read(&both, None).is_err());
        assert!(OriginOut::read(&json!({}), None).is_err());
        assert!(OriginOut::read(&json!("example.org"), None).is_err());
    }

    #[test]
    fn what_is_as_it_was_may_be_what_cloudfront_does_not_know() {
        let mut local = custom();
        if let OriginOut::Custom(custom) = &mut local {
            custom.port = 90;
            custom.domain_name = "127.0.0.1".into();
            custom.read_timeout = 600;
            custom.tls_protocols = vec!["TLSv1.3".into()];
        }
        assert!(OriginOut::read(&shown(&local), None).is_err());
        assert_eq!(OriginOut::read(&shown(&local), Some(&local)), Ok(local));
    }

    #[test]
    fn values_of_custom_headers_are_not_shown_to_logs() {
        let text = format!("{:?}", custom());
        assert!(text.contains("x-env") && !text.contains("\"a\""), "{text}");
    }
}

//! Pure: the origins that viewer-request code chose, made of those that the configuration names
//! (CloudFront: "Helper methods for origin modification").
//!
//! What code does not say is as the origin has it that the behavior names. Certificates are checked
//! as ever: a name that code gives is one that the origin has to prove.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::event::{AccessControlOut, OriginChoice, OriginOverrides};
use super::rules::Invalid;
use crate::base::secret::Secret;
use crate::distribution::aws_hosts::region_of;
use crate::distribution::behavior::Target;
use crate::distribution::functions::Choosable;
use crate::distribution::host::parse_authority;
use crate::distribution::origin::{
    AccessControl, Family, HostRule, HttpOrigin, HttpVersion, Origin, OriginKind, OriginTls, Reach,
    Signing, Timeouts, TlsVersion, is_reserved,
};
use crate::distribution::origin_names::{OriginNames, Place};
use crate::distribution::site::Distribution;
use crate::message::connection::Scheme;
use crate::message::path::is_safe_path;

/// What a choice is made among.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    pub distribution: &'a Distribution,
    /// What the behavior names.
    pub target: Target,
    /// By which viewers came: what matches it is the origin that code is about.
    pub scheme: Scheme,
    pub names: &'a OriginNames,
    pub choosable: Choosable,
    /// Where our own admin listener is: no origin.
    pub admin: SocketAddr,
}

/// The origins that are asked, in order, and the statuses that send a request on.
pub type Chosen = (Vec<Arc<Origin>>, Vec<u16>);

const UPDATE: &str = "cf.updateRequestOrigin";
const SELECT: &str = "cf.selectRequestOriginById";
const GROUP: &str = "cf.createRequestOriginGroup";

/// Makes the origins of a choice.
pub fn choose(choice: &OriginChoice, around: &Around<'_>) -> Result<Chosen, Invalid> {
    match choice {
        OriginChoice::Update(overrides) => update(overrides, around),
        OriginChoice::Select { id, overrides } => {
            let origin = by_id(SELECT, id, around)?;
            Ok((vec![overridden(SELECT, origin, overrides, around)?], Vec::new()))
        }
        OriginChoice::Group { members, statuses } => {
            if members.len() != 2 {
                let found = members.len().to_string();
                return Err(Invalid::new(GROUP, "must name two origins", &found));
            }
            let is_status = |status: &u16| (400..=599).contains(status);
            if statuses.is_empty() || !statuses.iter().all(is_status) {
                let rule = "must have failoverCriteria.statusCodes from 400 to 599";
                return Err(Invalid::new(GROUP, rule, &format!("{statuses:?}")));
            }
            let made = members.iter().map(|(id, overrides)| {
                overridden(GROUP, by_id(GROUP, id, around)?, overrides, around)
            });
            Ok((made.collect::<Result<_, _>>()?, statuses.clone()))
        }
    }
}

// Of a group the first member alone changes.
fn update(overrides: &OriginOverrides, around: &Around<'_>) -> Result<Chosen, Invalid> {
    let (members, failover) = around.distribution.members(around.target);
    let facing = |at: &usize| Arc::clone(around.scheme.origin(&around.distribution.origins[*at]));
    let mut all: Vec<Arc<Origin>> = members.iter().map(facing).collect();
    if let Some(first) = all.first_mut() {
        *first = overridden(UPDATE, first, overrides, around)?;
    }
    Ok((all, failover.to_vec()))
}

fn by_id<'a>(call: &str, id: &str, around: &Around<'a>) -> Result<&'a Arc<Origin>, Invalid> {
    let mut origins = around.distribution.origins.iter();
    origins
        .find(|origin| origin.id == id)
        .map(|origin| around.scheme.origin(origin))
        .ok_or_else(|| Invalid::new(call, "must name an origin of the distribution", id))
}

fn overridden(
    call: &str,
    base: &Arc<Origin>,
    overrides: &OriginOverrides,
    around: &Around<'_>,
) -> Result<Arc<Origin>, Invalid> {
    if *overrides == OriginOverrides::default() {
        return Ok(Arc::clone(base));
    }
    let mut origin = Origin::clone(base);
    let place = match &overrides.domain_name {
        Some(name) => domain(call, name, around)?,
        None => None,
    };
    if reaches_elsewhere(overrides) {
        let http = http(call, &origin.kind, overrides, place.as_ref(), around)?;
        origin.kind = OriginKind::Http(http);
    }
    let path = match &overrides.origin_path {
        Some(path) => origin_path(call, path)?,
        None => origin.path.clone(),
    };
    origin.path = match &place {
        Some(place) => format!("{}{path}", place.path),
        None => path,
    };
    if let Some(headers) = &overrides.custom_headers {
        origin.headers = custom_headers(call, headers)?;
    }
    timeouts(call, &mut origin, overrides)?;
    if overrides.shield == Some(false) {
        origin.shield = None;
    }
    match &overrides.access_control {
        Some(None) => origin.access = None,
        Some(Some(access)) => origin.access = Some(access_control(call, base, access)?),
        None => {}
    }
    if let (Some(access), Some(name)) = (&mut origin.access, &overrides.domain_name)
        && let Some(region) = region_of(name)
    {
        access.region = region.to_string();
    }
    origin.id = describe(&origin);
    Ok(Arc::new(origin))
}

// What a log calls it, and what tells it from others in a key: how it is reached, what it has to
// prove and what is proved to it. A site that is found by another SNI, or shows more to a
// certificate or a signature of ours, is another one.
fn describe(origin: &Origin) -> String {
    let signed = match &origin.access {
        Some(AccessControl { signing, service, region, .. }) => match signing {
            Signing::Always => format!("(signed={service}/{region})"),
            Signing::NoOverride => format!("(signed-else={service}/{region})"),
            Signing::Never => String::new(),
        },
        None => String::new(),
    };
    let OriginKind::Http(http) = &origin.kind else { return format!("{}{signed}", origin.id) };
    let host = match &http.host_rule {
        HostRule::Fixed(name) | HostRule::Named(name) => name.as_str(),
        HostRule::Origin | HostRule::Viewer => "",
    };
    let (scheme, proof) = match &http.tls {
        Some(tls) => ("https", proof(tls)),
        None => ("http", String::new()),
    };
    format!(
        "{}{signed}>{scheme}{proof}://{}:{}{}|{host}",
        origin.id, http.host, http.port, origin.path
    )
}

// Nothing where the Host that is sent says the name and no certificate of ours is shown.
fn proof(tls: &OriginTls) -> String {
    let sni = tls.server_name.as_deref().map_or_else(String::new, |name| format!("(sni={name})"));
    let names = match &tls.more_names[..] {
        [] => String::new(),
        names => format!("(names={})", names.join(",")),
    };
    let identity = if tls.identity.is_some() { "(mtls)" } else { "" };
    format!("{sni}{names}{identity}")
}

fn reaches_elsewhere(overrides: &OriginOverrides) -> bool {
    overrides.domain_name.is_some()
        || overrides.host_header.is_some()
        || overrides.port.is_some()
        || overrides.protocol.is_some()
        || overrides.tls_protocols.is_some()
        || overrides.sni.is_some()
        || overrides.allowed_certificate_names.is_some()
        || overrides.without_identity
}

fn is_host(name: &str) -> bool {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    !name.contains(':')
        && bare.parse::<IpAddr>().is_err()
        && parse_authority(name).is_some_and(|authority| authority.port.is_none())
}

// Where a host is found that code named; `None`: where its name says.
fn domain(call: &str, name: &str, around: &Around<'_>) -> Result<Option<Place>, Invalid> {
    let place = around.names.find(name);
    if place.is_none() && !is_host(name) {
        let rule = "must have a domainName that is a host name, without a port and no address";
        return Err(Invalid::new(call, rule, name));
    }
    let is_declared = || {
        around.distribution.origins.iter().any(|origin| match &origin.kind {
            OriginKind::Http(http) => http.host.eq_ignore_ascii_case(name),
            OriginKind::Directory(_) => false,
        })
    };
    if place.is_none() && around.choosable == Choosable::Declared && !is_declared() {
        let rule = "must have a domainName that the configuration declares (functions.origins)";
        return Err(Invalid::new(call, rule, name));
    }
    Ok(place)
}

fn http(
    call: &str,
    base: &OriginKind,
    overrides: &OriginOverrides,
    place: Option<&Place>,
    around: &Around<'_>,
) -> Result<HttpOrigin, Invalid> {
    let mut http = match base {
        OriginKind::Http(http) => http.clone(),
        OriginKind::Directory(_) if overrides.domain_name.is_some() => HttpOrigin {
            host: String::new(),
            port: 443,
            tls: Some(OriginTls::usual()),
            host_rule: HostRule::Origin,
            version: HttpVersion::Http1,
            family: Family::Both,
            reach: Reach::Anywhere,
        },
        OriginKind::Directory(_) => {
            return Err(Invalid::new(call, "must name a host: the origin is a folder", ""));
        }
    };
    let was_tls = http.tls.is_some();
    let is_tls = match overrides.protocol.as_deref() {
        None => was_tls,
        Some("https") => true,
        Some("http") => false,
        Some(other) => {
            let rule = "must have customOriginConfig.protocol \"http\" or \"https\"";
            return Err(Invalid::new(call, rule, other));
        }
    };
    match overrides.port {
        Some(0) => return Err(Invalid::new(call, "must have a port from 1 to 65535", "0")),
        Some(port) => http.port = port,
        None if is_tls != was_tls => http.port = if is_tls { 443 } else { 80 },
        None => {}
    }
    let is_tls = place.map_or(is_tls, |place| place.is_tls);
    if let Some(name) = &overrides.domain_name {
        http.host.clone_from(name);
        http.host_rule = HostRule::Origin;
        http.reach = Reach::Guarded { admin: around.admin };
        // Our certificate is for the origin that it was given for.
        if let Some(tls) = &mut http.tls {
            (tls.server_name, tls.identity) = (None, None);
            tls.more_names.clear();
        }
        if let Some(place) = place {
            (http.host, http.port) = (place.host.clone(), place.port);
            http.host_rule = HostRule::Fixed(name.clone());
        }
    }
    if let Some(host) = &overrides.host_header {
        if parse_authority(host).is_none() {
            return Err(Invalid::new(call, "must have a hostHeader that is a host", host));
        }
        http.host_rule = HostRule::Fixed(host.clone());
    }
    http.tls = if is_tls { Some(tls(call, http.tls.take(), overrides)?) } else { None };
    // A name that stands for another host is proven by that host.
    if let (Some(place), Some(tls)) = (place, &mut http.tls) {
        tls.server_name.get_or_insert_with(|| place.host.clone());
    }
    Ok(http)
}

// SNI is the name that the certificate has to be for, or one of those that are allowed beside it.
fn tls(
    call: &str,
    base: Option<OriginTls>,
    overrides: &OriginOverrides,
) -> Result<OriginTls, Invalid> {
    let mut tls = base.unwrap_or_else(OriginTls::usual);
    if let Some(protocols) = &overrides.tls_protocols {
        let has = |wanted: &str| protocols.iter().any(|known| known == wanted);
        tls.min = match (has("TLSv1.2"), has("TLSv1.3")) {
            (true, _) => TlsVersion::V1_2,
            (false, true) => TlsVersion::V1_3,
            (false, false) => {
                let rule = "must have TLSv1.2 among customOriginConfig.sslProtocols";
                return Err(Invalid::new(call, rule, &protocols.join(", ")));
            }
        };
    }
    let allowed = overrides.allowed_certificate_names.as_deref().unwrap_or_default();
    if allowed.len() > 20 {
        let rule = "must have at most 20 allowedCertificateNames";
        return Err(Invalid::new(call, rule, &allowed.len().to_string()));
    }
    if let Some(name) = allowed.iter().find(|name| !is_host(name)) {
        let rule = "must have allowedCertificateNames that are host names";
        return Err(Invalid::new(call, rule, name));
    }
    if !allowed.is_empty() {
        tls.more_names = allowed.to_vec();
    }
    if let Some(name) = &overrides.sni {
        if !is_host(name) {
            return Err(Invalid::new(call, "must have an sni that is a host name", name));
        }
        tls.server_name = Some(name.clone());
    }
    if overrides.without_identity {
        tls.identity = None;
    }
    Ok(tls)
}

fn origin_path(call: &str, path: &str) -> Result<String, Invalid> {
    let is_plain = path.is_empty() || path.starts_with('/') && !path.ends_with('/');
    let is_safe = path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#'));
    if is_plain && is_safe && is_safe_path(path) && path.len() <= 255 {
        return Ok(path.to_string());
    }
    let rule = "must have an originPath that begins with / and does not end with one";
    Err(Invalid::new(call, rule, path))
}

fn custom_headers(
    call: &str,
    headers: &[(String, String)],
) -> Result<Vec<(HeaderName, Secret<HeaderValue>)>, Invalid> {
    let mut all = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        let header = HeaderName::from_bytes(name.as_bytes())
            .ok()
            .filter(|header| !is_reserved(header))
            .ok_or_else(|| Invalid::new(call, "must have customHeaders that may be added", name))?;
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            Invalid::new(call, "must have customHeaders without control characters", name)
        })?;
        value.set_sensitive(true);
        all.push((header, Secret::new(value)));
    }
    Ok(all)
}

fn timeouts(call: &str, origin: &mut Origin, overrides: &OriginOverrides) -> Result<(), Invalid> {
    let seconds = |value: Option<u32>, most: u32, name: &str| match value {
        None => Ok(None),
        Some(value) if (1..=most).contains(&value) => {
            Ok(Some(Duration::from_secs(u64::from(value))))
        }
        Some(value) => {
            let rule = format!("must have {name} from 1 to {most}");
            Err(Invalid::new(call, rule, &value.to_string()))
        }
    };
    let timeouts = &mut origin.timeouts;
    for (given, slot) in [
        (seconds(overrides.read_timeout, 120, "timeouts.readTimeout")?, &mut timeouts.response),
        (
            seconds(overrides.keep_alive_timeout, 120, "timeouts.keepAliveTimeout")?,
            &mut timeouts.idle,
        ),
        (
            seconds(overrides.connection_timeout, 10, "timeouts.connectionTimeout")?,
            &mut timeouts.connect,
        ),
    ] {
        if let Some(given) = given {
            *slot = given;
        }
    }
    completion(call, timeouts, overrides)?;
    match overrides.connection_attempts {
        None => Ok(()),
        Some(attempts) if (1..=3).contains(&attempts) => {
            origin.attempts = attempts;
            Ok(())
        }
        Some(attempts) => {
            let rule = "must have connectionAttempts from 1 to 3";
            Err(Invalid::new(call, rule, &attempts.to_string()))
        }
    }
}

// The whole answer may take no less time than its pieces, whichever of the two code said.
fn completion(
    call: &str,
    timeouts: &mut Timeouts,
    overrides: &OriginOverrides,
) -> Result<(), Invalid> {
    if let Some(seconds) = overrides.completion_timeout {
        timeouts.complete = Some(Duration::from_secs(u64::from(seconds)));
    }
    let is_said = overrides.completion_timeout.is_some() || overrides.read_timeout.is_some();
    match timeouts.complete.filter(|whole| is_said && *whole < timeouts.response) {
        None => Ok(()),
        Some(whole) => {
            let rule = "must have timeouts.responseCompletionTimeout no less than readTimeout";
            Err(Invalid::new(call, rule, &whole.as_secs().to_string()))
        }
    }
}

// The credentials are those that the configuration gives the origin: code names none.
fn access_control(
    call: &str,
    base: &Origin,
    said: &AccessControlOut,
) -> Result<AccessControl, Invalid> {
    let Some(known) = &base.access else {
        let rule = "must not sign for an origin that has no access_control here";
        return Err(Invalid::new(call, rule, &said.origin_type));
    };
    let signing = match said.signing_behavior.as_str() {
        "always" => Signing::Always,
        "never" => Signing::Never,
        "no-override" => Signing::NoOverride,
        other => {
            let rule = "must have a signingBehavior of always, never or no-override";
            return Err(Invalid::new(call, rule, other));
        }
    };
    let service = match said.origin_type.as_str() {
        kind @ ("s3" | "mediapackagev2" | "mediastore" | "lambda") => kind.to_string(),
        other => {
            let rule = "must have an originType of s3, mediapackagev2, mediastore or lambda";
            return Err(Invalid::new(call, rule, other));
        }
    };
    // S3's siblings go on as what they are.
    let service =
        if service == "s3" && known.is_bucket() { known.service.clone() } else { service };
    Ok(AccessControl { signing, service, ..known.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::sigv4::Credentials;
    use crate::distribution::origin::{Identity, Subresources};

    fn origin(id: &str, host: &str) -> Arc<Origin> {
        let tls = OriginTls { server_name: Some("pinned.test".into()), ..OriginTls::usual() };
        let http = HttpOrigin {
            host: host.into(),
            port: 8443,
            tls: Some(tls),
            host_rule: HostRule::Origin,
            version: HttpVersion::Http1,
            family: Family::Both,
            reach: Reach::Anywhere,
        };
        Arc::new(Origin {
            id: id.into(),
            kind: OriginKind::Http(http),
            path: "/base".into(),
            headers: Vec::new(),
            timeouts: Default::default(),
            attempts: 3,
            connections: 8,
            access: None,
            shield: Some("https://parent.test".into()),
            bucket: None,
            clear: None,
        })
    }

    fn made(overrides: &OriginOverrides, names: &OriginNames) -> Result<Arc<Origin>, Invalid> {
        made_in(&distribution(), overrides, names)
    }

    fn made_in(
        distribution: &Distribution,
        overrides: &OriginOverrides,
        names: &OriginNames,
    ) -> Result<Arc<Origin>, Invalid> {
        let around = Around {
            distribution,
            target: Target::Origin(0),
            scheme: Scheme::Https,
            names,
            choosable: Choosable::Any,
            admin: "127.0.0.1:9080".parse().unwrap(),
        };
        overridden(UPDATE, &distribution.origins[0], overrides, &around)
    }

    fn distribution() -> Distribution {
        Distribution {
            id: "E1".into(),
            comment: None,
            serving: crate::distribution::site::Serving::On,
            tags: Vec::new(),
            client_certificates: None,
            hosts: vec!["h.test".into()],
            default_root_object: None,
            origins: vec![origin("a", "a.test"), origin("b", "b.test")],
            groups: Vec::new(),
            behaviors: Vec::new(),
            error_responses: Vec::new(),
            tag_header: HeaderName::from_static("cache-tag"),
            is_deploying: false,
            staging: None,
            geo_restriction: None,
            versions: Default::default(),
            purge: None,
            compat: Default::default(),
        }
    }

    fn http_of(origin: &Origin) -> &HttpOrigin {
        let OriginKind::Http(http) = &origin.kind else { panic!() };
        http
    }

    #[test]
    fn what_is_not_said_is_inherited_and_another_host_is_guarded() {
        let overrides =
            OriginOverrides { domain_name: Some("c.test".into()), ..Default::default() };
        let chosen = made(&overrides, &OriginNames::default()).unwrap();
        let http = http_of(&chosen);
        assert_eq!(
            (http.host.as_str(), http.port, chosen.path.as_str()),
            ("c.test", 8443, "/base")
        );
        assert_eq!(http.tls.as_ref().unwrap().server_name, None, "it proves its own name");
        assert!(matches!(http.reach, Reach::Guarded { .. }));
        assert_eq!(chosen.shield.as_deref(), Some("https://parent.test"));
    }

    #[test]
    fn a_bucket_by_any_of_its_names_is_signed_for_in_its_region() {
        let mut distribution = distribution();
        let mut bucket = Origin::clone(&distribution.origins[0]);
        bucket.access = Some(AccessControl {
            signing: Signing::Always,
            service: "s3".into(),
            region: "us-east-1".into(),
            credentials: Credentials {
                id: "AKID".into(),
                secret: Secret::new("secret".into()),
                session_token: None,
            },
            subresources: Subresources::Refuse,
        });
        distribution.origins[0] = Arc::new(bucket);
        for (name, region) in [
            ("b.s3.eu-west-1.amazonaws.com", "eu-west-1"),
            ("b.s3.dualstack.eu-west-1.amazonaws.com", "eu-west-1"),
            ("b.s3-eu-west-1.amazonaws.com", "eu-west-1"),
            // What names none keeps the region of the origin that it replaces.
            ("b.s3.amazonaws.com", "us-east-1"),
        ] {
            let overrides =
                OriginOverrides { domain_name: Some(name.into()), ..Default::default() };
            let chosen = made_in(&distribution, &overrides, &OriginNames::default()).unwrap();
            let access = chosen.access.as_ref().unwrap();
            assert_eq!(access.region, region, "{name}");
        }
    }

    // The id is a part of keys: what one of two origins shows must not be shown for the other.
    #[test]
    fn origins_that_differ_in_what_is_proved_are_told_apart() {
        let mut distribution = distribution();
        let mut base = Origin::clone(&distribution.origins[0]);
        let OriginKind::Http(http) = &mut base.kind else { panic!() };
        let (chain, key) = (vec![vec![1]], Secret::new(vec![2]));
        http.tls.as_mut().unwrap().identity = Some(Identity { chain, key });
        base.access = Some(AccessControl {
            signing: Signing::Always,
            service: "lambda".into(),
            region: "us-east-1".into(),
            credentials: Credentials {
                id: "AKID".into(),
                secret: Secret::new("hidden".into()),
                session_token: None,
            },
            subresources: Subresources::Refuse,
        });
        distribution.origins[0] = Arc::new(base);
        let signing = |behavior: &str, kind: &str| {
            let (signing_behavior, origin_type) = (behavior.into(), kind.into());
            let out = AccessControlOut { signing_behavior, origin_type };
            OriginOverrides { access_control: Some(Some(out)), ..Default::default() }
        };
        let named = |names: &[&str]| OriginOverrides {
            allowed_certificate_names: Some(names.iter().map(|name| (*name).to_string()).collect()),
            ..Default::default()
        };
        let port = OriginOverrides { port: Some(8443), ..Default::default() };
        let own = OriginOverrides { domain_name: Some("a.test".into()), ..Default::default() };
        let all = [
            port.clone(),
            own,
            OriginOverrides { sni: Some("one.test".into()), ..Default::default() },
            OriginOverrides { sni: Some("two.test".into()), ..Default::default() },
            named(&["one.test"]),
            named(&["one.test", "two.test"]),
            OriginOverrides { without_identity: true, ..Default::default() },
            OriginOverrides { access_control: Some(None), ..port.clone() },
            signing("no-override", "lambda"),
            signing("always", "mediastore"),
        ];
        let id = |overrides: &OriginOverrides| {
            let made = made_in(&distribution, overrides, &OriginNames::default());
            made.unwrap_or_else(|why| panic!("{overrides:?}: {why:?}")).id.clone()
        };
        let ids: std::collections::BTreeSet<String> = all.iter().map(id).collect();
        assert_eq!(ids.len(), all.len(), "{ids:?}");
        assert!(ids.iter().all(|id| !id.contains("hidden")), "{ids:?}");
        // One that is chosen in other words is the same.
        let again = OriginOverrides { sni: Some("pinned.test".into()), ..Default::default() };
        assert_eq!(id(&again), id(&port));
        assert_eq!(id(&signing("never", "lambda")), id(&all[7]));
    }

    #[test]
    fn code_may_bound_a_whole_answer() {
        let overrides = OriginOverrides { completion_timeout: Some(40), ..Default::default() };
        let chosen = made(&overrides, &OriginNames::default()).unwrap();
        assert_eq!(chosen.timeouts.complete, Some(Duration::from_secs(40)));
        let overrides = OriginOverrides {
            read_timeout: Some(5),
            completion_timeout: Some(5),
            ..Default::default()
        };
        assert!(made(&overrides, &OriginNames::default()).is_ok());
    }

    #[test]
    fn a_certificate_may_be_for_each_name_that_is_allowed() {
        let names = |all: &[&str]| Some(all.iter().map(ToString::to_string).collect::<Vec<_>>());
        let with = |allowed_certificate_names| {
            let domain_name = Some("c.test".to_string());
            let overrides =
                OriginOverrides { domain_name, allowed_certificate_names, ..Default::default() };
            made(&overrides, &OriginNames::default())
        };
        let chosen = with(names(&["x.test", "y.test"])).unwrap();
        let tls = http_of(&chosen).tls.as_ref().unwrap();
        assert_eq!(
            (tls.server_name.as_deref(), tls.more_names.join(" ")),
            (None, "x.test y.test".into())
        );
        assert!(with(names(&["x.test", "a b"])).is_err());
        assert!(with(names(&["x.test"; 21])).is_err());
    }

    #[test]
    fn code_may_have_no_certificate_shown() {
        let mut distribution = distribution();
        let mut proven = Origin::clone(&distribution.origins[0]);
        let OriginKind::Http(http) = &mut proven.kind else { panic!("an HTTP origin") };
        let identity = Identity { chain: vec![vec![1]], key: Secret::new(vec![2]) };
        http.tls.as_mut().unwrap().identity = Some(identity);
        distribution.origins[0] = Arc::new(proven);
        for without_identity in [false, true] {
            let overrides =
                OriginOverrides { port: Some(9443), without_identity, ..Default::default() };
            let chosen = made_in(&distribution, &overrides, &OriginNames::default()).unwrap();
            let tls = http_of(&chosen).tls.as_ref().unwrap();
            assert_eq!(tls.identity.is_none(), without_identity);
            assert_eq!(tls.server_name.as_deref(), Some("pinned.test"));
        }
    }

    #[test]
    fn a_name_that_is_mapped_is_asked_for_where_it_is_found() {
        let names = [("*.s3.eu-west-1.amazonaws.com", "http://127.0.0.1:9000/*")];
        let names: OriginNames = names
            .iter()
            .map(|(pattern, url)| {
                crate::distribution::origin_names::OriginName::parse(pattern, url).unwrap()
            })
            .collect();
        let domain_name = Some("img.s3.eu-west-1.amazonaws.com".to_string());
        let origin_path = Some("/x".to_string());
        let overrides = OriginOverrides { domain_name, origin_path, ..Default::default() };
        let chosen = made(&overrides, &names).unwrap();
        let http = http_of(&chosen);
        assert_eq!((http.host.as_str(), http.port, http.tls.is_none()), ("127.0.0.1", 9000, true));
        assert_eq!(http.host_rule, HostRule::Fixed("img.s3.eu-west-1.amazonaws.com".into()));
        assert_eq!(chosen.path, "/img/x");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let some = |text: &str| Some(text.to_string());
        for overrides in [
            OriginOverrides { domain_name: some("127.0.0.1"), ..Default::default() },
            OriginOverrides { domain_name: some("a.test:80"), ..Default::default() },
            OriginOverrides { domain_name: some("a b"), ..Default::default() },
            OriginOverrides { host_header: some("a/b"), ..Default::default() },
            OriginOverrides { origin_path: some("x"), ..Default::default() },
            OriginOverrides { origin_path: some("/x/"), ..Default::default() },
            OriginOverrides { origin_path: some("/../x"), ..Default::default() },
            OriginOverrides { port: Some(0), ..Default::default() },
            OriginOverrides { protocol: some("ftp"), ..Default::default() },
            OriginOverrides { read_timeout: Some(121), ..Default::default() },
            OriginOverrides { completion_timeout: Some(29), ..Default::default() },
            OriginOverrides {
                read_timeout: Some(60),
                completion_timeout: Some(59),
                ..Default::default()
            },
            OriginOverrides { connection_timeout: Some(0), ..Default::default() },
            OriginOverrides { connection_attempts: Some(4), ..Default::default() },
            OriginOverrides { tls_protocols: Some(vec!["SSLv3".into()]), ..Default::default() },
            OriginOverrides {
                custom_headers: Some(vec![("x-edge-a".into(), "1".into())]),
                ..Default::default()
            },
            OriginOverrides {
                custom_headers: Some(vec![("x-a".into(), "1\r\n".into())]),
                ..Default::default()
            },
            OriginOverrides {
                access_control: Some(Some(AccessControlOut {
                    signing_behavior: "always".into(),
                    origin_type: "s3".into(),
                })),
                ..Default::default()
            },
        ] {
            let refused = made(&overrides, &OriginNames::default());
            assert!(refused.is_err(), "{overrides:?}");
        }
    }

    #[test]
    fn origins_are_chosen_by_id_and_in_pairs() {
        let distribution = distribution();
        let names = OriginNames::default();
        let around = Around {
            distribution: &distribution,
            target: Target::Origin(0),
            scheme: Scheme::Https,
            names: &names,
            choosable: Choosable::Declared,
            admin: "127.0.0.1:9080".parse().unwrap(),
        };
        let none = OriginOverrides::default;
        let of = |choice: OriginChoice| {
            let (members, statuses) = choose(&choice, &around).map_err(|why| why.rule)?;
            Ok::<_, String>((
                members.iter().map(|one| one.id.clone()).collect::<Vec<_>>(),
                statuses,
            ))
        };
        let select = |id: &str| OriginChoice::Select { id: id.into(), overrides: none() };
        assert_eq!(of(select("b")), Ok((vec!["b".to_string()], vec![])));
        assert!(of(select("z")).is_err());
        let group = |statuses: Vec<u16>, ids: &[&str]| OriginChoice::Group {
            members: ids.iter().map(|id| ((*id).to_string(), none())).collect(),
            statuses,
        };
        assert_eq!(
            of(group(vec![429, 503], &["b", "a"])),
            Ok((vec!["b".to_string(), "a".to_string()], vec![429, 503]))
        );
        assert!(of(group(vec![200], &["b", "a"])).is_err());
        assert!(of(group(vec![503], &["b"])).is_err());
        let elsewhere =
            OriginOverrides { domain_name: Some("c.test".into()), ..Default::default() };
        assert!(of(OriginChoice::Update(elsewhere)).is_err(), "not declared");
        let declared = OriginOverrides { domain_name: Some("b.test".into()), ..Default::default() };
        assert!(of(OriginChoice::Update(declared)).is_ok());
    }
}

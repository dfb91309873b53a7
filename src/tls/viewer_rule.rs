//! A distribution's rule about viewers' certificates, as rustls keeps it, and what is read of a
//! certificate that was let in.
//!
//! What a viewer sends is bounded before it is looked at. The dates of all its certificates are
//! looked at again when a session is resumed: rustls verifies in whole handshakes alone.

use std::fmt::Write;
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::{AttributeTypeAndValue, RelativeDistinguishedName, X509Name};

use super::tickets::ClientRule;
use crate::distribution::viewer_tls::{ClientCertificates, Expiry, Hints, Mode};
use crate::message::certificate::{Proof, ViewerCertificate};
use crate::semantics::time::{Timestamp, format_rfc3339};

/// The most certificates that a viewer may show, its own among them.
pub const CHAIN_MAX: usize = 5;
/// The most octets of them together.
pub const CHAIN_OCTETS: usize = 32 * 1024;
/// The most authorities of a trust store.
pub const ROOTS_MAX: usize = 256;

/// What was wrong in a handshake that a rule of ours ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeRefusal {
    /// None was shown where one is required.
    Missing,
    Expired,
    NotYetValid,
    /// It leads to no authority of the trust store.
    UnknownAuthority,
    /// It is not one for clients.
    Purpose,
    /// Too many certificates, or too many octets of them.
    TooLarge,
    /// Anything else that a certificate or its proof may lack.
    BadCertificate,
    /// No certificate of ours stands for the name that was asked for.
    UnknownName,
}

impl HandshakeRefusal {
    /// All of them, in order.
    pub const ALL: [Self; 8] = [
        Self::Missing,
        Self::Expired,
        Self::NotYetValid,
        Self::UnknownAuthority,
        Self::Purpose,
        Self::TooLarge,
        Self::BadCertificate,
        Self::UnknownName,
    ];

    /// The word of the counters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::UnknownAuthority => "unknown-authority",
            Self::Purpose => "purpose",
            Self::TooLarge => "too-large",
            Self::BadCertificate => "bad-certificate",
            Self::UnknownName => "unknown-name",
        }
    }

    /// What a handshake failed of, if it was the viewer's certificate.
    pub fn of(error: &Error) -> Option<Self> {
        use CertificateError as E;
        match error {
            Error::NoCertificatesPresented => Some(Self::Missing),
            Error::InvalidCertificate(why) => Some(match why {
                E::Expired | E::ExpiredContext { .. } => Self::Expired,
                E::NotValidYet | E::NotValidYetContext { .. } => Self::NotYetValid,
                E::UnknownIssuer => Self::UnknownAuthority,
                E::InvalidPurpose | E::InvalidPurposeContext { .. } => Self::Purpose,
                E::ApplicationVerificationFailure => Self::TooLarge,
                _ => Self::BadCertificate,
            }),
            _ => None,
        }
    }
}

/// What tells the tickets of a rule from those of others.
pub fn ticket_rule(rule: &ClientCertificates) -> ClientRule {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(rule.mode.word().as_bytes());
    context.update(&[u8::from(rule.expiry == Expiry::Ignored)]);
    for der in &rule.roots {
        context.update(&(der.len() as u64).to_le_bytes());
        context.update(der);
    }
    let mut octets = [0; 32];
    octets.copy_from_slice(context.finish().as_ref());
    ClientRule::of_digest(octets)
}

/// What asks for certificates under a rule and checks them. The error says which root cannot be
/// used.
pub fn verifier(
    rule: &ClientCertificates,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let algorithms = provider.signature_verification_algorithms;
    let inner = match rule.mode {
        Mode::Passthrough => None,
        Mode::Required | Mode::Optional => Some(webpki(rule, provider)?),
    };
    let (is_required, expiry) = (rule.mode == Mode::Required, rule.expiry);
    Ok(Arc::new(Ruled { inner, is_required, expiry, algorithms }))
}

fn webpki(
    rule: &ClientCertificates,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut store = RootCertStore::empty();
    for der in &rule.roots {
        store
            .add(CertificateDer::from(der.clone()))
            .map_err(|error| format!("a CA certificate cannot be used: {error}"))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider);
    let builder = match rule.hints {
        Hints::Silent => builder.clear_root_hint_subjects(),
        Hints::Advertised => builder,
    };
    builder.build().map_err(|error| error.to_string())
}

#[derive(Debug)]
struct Ruled {
    /// `None`: nothing is verified but that the viewer has the key.
    inner: Option<Arc<dyn ClientCertVerifier>>,
    is_required: bool,
    expiry: Expiry,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Ruled {
    fn client_auth_mandatory(&self) -> bool {
        self.is_required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        match &self.inner {
            Some(inner) => inner.root_hint_subjects(),
            None => &[],
        }
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let octets = end_entity.len() + intermediates.iter().map(|one| one.len()).sum::<usize>();
        if intermediates.len() >= CHAIN_MAX || octets > CHAIN_OCTETS {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        let Some(inner) = &self.inner else {
            // What cannot be read cannot be told to an origin either.
            return match X509Certificate::from_der(end_entity) {
                Ok(_) => Ok(ClientCertVerified::assertion()),
                Err(_) => Err(CertificateError::BadEncoding.into()),
            };
        };
        let verified = inner.verify_client_cert(end_entity, intermediates, now);
        let is_over = verified
            .as_ref()
            .is_err_and(|error| HandshakeRefusal::of(error) == Some(HandshakeRefusal::Expired));
        if !is_over || self.expiry == Expiry::Checked {
            return verified;
        }
        // Everything else has to be right, at the last moment when none was over.
        match last_good(std::iter::once(end_entity).chain(intermediates), now) {
            Some(then) => inner.verify_client_cert(end_entity, intermediates, then),
            None => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

// The end of the certificate that is over first, if it lies before now.
fn last_good<'c>(
    chain: impl Iterator<Item = &'c CertificateDer<'c>>,
    now: UnixTime,
) -> Option<UnixTime> {
    let end = |der: &'c CertificateDer<'c>| {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        u64::try_from(parsed.validity().not_after.timestamp()).ok()
    };
    let first = chain.map(end).collect::<Option<Vec<u64>>>()?.into_iter().min()?;
    (first < now.as_secs())
        .then(|| UnixTime::since_unix_epoch(std::time::Duration::from_secs(first)))
}

/// Reads the certificate that a viewer showed under a rule. `Ok(None)`: it showed none. An error:
/// it is none that is let in, though the session began with it.
pub fn shown(
    chain: Option<&[CertificateDer<'_>]>,
    rule: &ClientCertificates,
    now: Timestamp,
) -> Result<Option<ViewerCertificate>, HandshakeRefusal> {
    let Some(leaf) = chain.and_then(<[_]>::first) else {
        return match rule.mode {
            Mode::Required => Err(HandshakeRefusal::Missing),
            Mode::Optional | Mode::Passthrough => Ok(None),
        };
    };
    let (_, parsed) =
        X509Certificate::from_der(leaf).map_err(|_| HandshakeRefusal::BadCertificate)?;
    let moment = |secs: i64| Timestamp::from_secs(u64::try_from(secs).unwrap_or(0));
    let (from, until) = (
        moment(parsed.validity().not_before.timestamp()),
        moment(parsed.validity().not_after.timestamp()),
    );
    let proof = match rule.mode {
        Mode::Passthrough => Proof::Unverified,
        Mode::Required | Mode::Optional => Proof::Verified,
    };
    let others: Vec<Box<[u8]>> = match proof {
        Proof::Verified => Vec::new(),
        Proof::Unverified => {
            chain.into_iter().flatten().skip(1).map(|der| der.to_vec().into_boxed_slice()).collect()
        }
    };
    if proof == Proof::Verified && rule.expiry == Expiry::Checked && until.secs() < now.secs() {
        return Err(HandshakeRefusal::Expired);
    }
    Ok(Some(ViewerCertificate {
        proof,
        serial: hex(parsed.raw_serial(), ":"),
        issuer: rfc2253(parsed.issuer()),
        subject: rfc2253(parsed.subject()),
        sha256: hex(digest::digest(&digest::SHA256, leaf).as_ref(), ""),
        validity: format!("NotBefore={};NotAfter={}", to_the_second(from), to_the_second(until)),
        der: leaf.to_vec().into(),
        others,
    }))
}

/// Says whether the certificates that a session began with would still be let in, where it is taken
/// up again. Tickets are sealed under the rule with its roots, so only time can have changed
/// anything: while none is over, nothing is verified anew.
pub fn resumed(
    chain: Option<&[CertificateDer<'_>]>,
    rule: &ClientCertificates,
    verifier: &dyn ClientCertVerifier,
    now: Timestamp,
) -> Result<(), HandshakeRefusal> {
    let Some((leaf, others)) = chain.and_then(<[_]>::split_first) else { return Ok(()) };
    if rule.mode == Mode::Passthrough || rule.expiry == Expiry::Ignored {
        return Ok(());
    }
    let is_over = |der: &CertificateDer<'_>| match X509Certificate::from_der(der) {
        Ok((_, parsed)) => {
            u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0) < now.secs()
        }
        Err(_) => true,
    };
    if !is_over(leaf) && !others.iter().any(is_over) {
        return Ok(());
    }
    // The one that is over may be on no way to an authority.
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now.secs()));
    match verifier.verify_client_cert(leaf, others, at) {
        Ok(_) => Ok(()),
        Err(error) => Err(HandshakeRefusal::of(&error).unwrap_or(HandshakeRefusal::BadCertificate)),
    }
}

fn to_the_second(at: Timestamp) -> String {
    format_rfc3339(at).replace(".000Z", "Z")
}

fn hex(octets: &[u8], between: &str) -> String {
    let mut out = String::with_capacity(octets.len() * (2 + between.len()));
    for (at, octet) in octets.iter().enumerate() {
        if at > 0 {
            out.push_str(between);
        }
        // Writing to a string does not fail.
        let _ = write!(out, "{octet:02x}");
    }
    out
}

// RFC 2253 §2: the last part first, joined by commas.
fn rfc2253(name: &X509Name<'_>) -> String {
    let part = |part: &RelativeDistinguishedName<'_>| {
        part.iter().map(attribute).collect::<Vec<_>>().join("+")
    };
    let mut parts: Vec<String> = name.iter_rdn().map(part).collect();
    parts.reverse();
    parts.join(",")
}

fn attribute(one: &AttributeTypeAndValue<'_>) -> String {
    let id = one.attr_type().to_id_string();
    let known = match id.as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        _ => "",
    };
    match one.as_str() {
        Ok(text) if !known.is_empty() => format!("{known}={}", escaped(text)),
        // §2.4: the octets of its encoding.
        _ => {
            let value = one.attr_value();
            let head = header(value.tag().0, value.data.len());
            let kind = if known.is_empty() { id.as_str() } else { known };
            format!("{kind}=#{}{}", hex(&head, ""), hex(value.data, ""))
        }
    }
}

// Tag and length as DER writes them. All string types have a tag below 31.
fn header(tag: u32, len: usize) -> Vec<u8> {
    let mut out = vec![(tag & 0x1f) as u8];
    match len {
        0..0x80 => out.push(len as u8),
        _ => {
            let octets = len.to_be_bytes();
            let start = octets.iter().position(|octet| *octet != 0).unwrap_or(0);
            out.push(0x80 | (octets.len() - start) as u8);
            out.extend_from_slice(&octets[start..]);
        }
    }
    out
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let last = text.chars().count().saturating_sub(1);
    for (at, c) in text.chars().enumerate() {
        let is_special = matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=')
            || (at == 0 && (c == '#' || c == ' '))
            || (at == last && c == ' ');
        if is_special {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
        KeyPair, KeyUsagePurpose,
    };

    #[test]
    fn names_are_written_as_rfc_2253_has_them() {
        assert_eq!(escaped(" a, \"b\"+c= "), "\\ a\\, \\\"b\\\"\\+c\\=\\ ");
        assert_eq!(escaped("#1#"), "\\#1#");
        assert_eq!(header(12, 5), [12, 5]);
        assert_eq!(header(12, 0x80), [12, 0x81, 0x80]);
        assert_eq!(header(30, 0x1234), [30, 0x82, 0x12, 0x34]);
        assert_eq!(hex(&[1, 0xff], ":"), "01:ff");
    }

    #[test]
    fn each_refusal_has_a_counter_of_its_own() {
        for (at, why) in HandshakeRefusal::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, at, "{}", why.name());
        }
    }

    /// A root, what it has signed, and what that has signed; each ends in a year of its own.
    struct Chain {
        root: Vec<u8>,
        middle: CertificateDer<'static>,
        leaf: CertificateDer<'static>,
        /// Of no consequence: signed by nobody else, and over in 2031.
        stray: CertificateDer<'static>,
    }

    fn params(name: &str, end: i32) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(end, 1, 1);
        params
    }

    fn authority(name: &str, end: i32) -> CertificateParams {
        let mut params = params(name, end);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
    }

    fn chain(middle_end: i32, leaf_end: i32) -> Chain {
        let key = || KeyPair::generate().unwrap();
        let (root_key, root) = (key(), authority("root", 2060));
        let root_der = root.self_signed(&root_key).unwrap().der().to_vec();
        let root = Issuer::new(root, root_key);
        let (middle_key, middle) = (key(), authority("middle", middle_end));
        let middle_der = middle.signed_by(&middle_key, &root).unwrap().der().clone();
        let middle = Issuer::new(middle, middle_key);
        let mut leaf = params("viewer", leaf_end);
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let leaf = leaf.signed_by(&key(), &middle).unwrap().der().clone();
        let stray = params("stray", 2031).self_signed(&key()).unwrap().der().clone();
        Chain { root: root_der, middle: middle_der, leaf, stray }
    }

    fn rule(mode: Mode, expiry: Expiry, root: &[u8]) -> ClientCertificates {
        ClientCertificates { mode, roots: vec![root.to_vec()], expiry, hints: Hints::Silent }
    }

    fn verifying(rule: &ClientCertificates) -> Arc<dyn ClientCertVerifier> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        verifier(rule, provider).unwrap()
    }

    // Days before and after the first of January of a year.
    fn around(year: u64, days: i64) -> Timestamp {
        let leaps = (1972..year).step_by(4).count() as u64;
        let day = ((year - 1970) * 365 + leaps).checked_add_signed(days).unwrap();
        Timestamp::from_secs(day * 86_400)
    }

    #[test]
    fn a_session_is_taken_up_while_all_of_its_chain_holds() {
        for (middle, leaf) in [(2035, 2040), (2040, 2035)] {
            let made = chain(middle, leaf);
            let shown = [made.leaf.clone(), made.middle.clone()];
            let rule = rule(Mode::Required, Expiry::Checked, &made.root);
            let verifier = verifying(&rule);
            let at = |now| resumed(Some(&shown), &rule, &*verifier, now);
            assert_eq!(at(around(2035, -1)), Ok(()), "{middle} {leaf}");
            assert_eq!(at(around(2035, 1)), Err(HandshakeRefusal::Expired), "{middle} {leaf}");
        }
    }

    #[test]
    fn what_is_on_no_way_to_an_authority_ends_no_session() {
        let made = chain(2040, 2040);
        let shown = [made.leaf.clone(), made.middle.clone(), made.stray.clone()];
        let rule = rule(Mode::Optional, Expiry::Checked, &made.root);
        let verifier = verifying(&rule);
        assert_eq!(resumed(Some(&shown), &rule, &*verifier, around(2035, 0)), Ok(()));
        assert_eq!(resumed(None, &rule, &*verifier, around(2035, 0)), Ok(()));
    }

    #[test]
    fn a_rule_that_looks_at_no_end_ends_no_session() {
        let made = chain(2035, 2035);
        let shown = [made.leaf.clone(), made.middle.clone()];
        let later = around(2050, 0);
        for rule in [
            rule(Mode::Required, Expiry::Ignored, &made.root),
            ClientCertificates {
                roots: Vec::new(),
                ..rule(Mode::Passthrough, Expiry::Checked, &made.root)
            },
        ] {
            assert_eq!(resumed(Some(&shown), &rule, &*verifying(&rule), later), Ok(()));
        }
    }
}

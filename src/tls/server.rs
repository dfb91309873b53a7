//! rustls server settings from a site, under CloudFront's security policy names: one per
//! certificate, and one more for each rule about viewers' certificates of hosts that it stands for.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, ServerConfig, SupportedCipherSuite};

use super::certified::certified_key;
use super::clients::{self, UnderRoots};
use super::sni::ByName;
use super::tickets::{ClientRule, Tickets};
use super::viewer_rule;
use crate::distribution::certificate::{Certificate, covers};
use crate::distribution::host::HostTable;
use crate::distribution::site::{Site, TlsPolicy, UnknownSni};
use crate::distribution::viewer_tls::ClientCertificates;

/// What a handshake needs, replaced whole when certificates change.
pub struct ServerTls {
    table: ByName<ByRule>,
    rules: Option<Rules>,
    http1_only: Option<Http1Only>,
    unknown_sni: UnknownSni,
    /// The same certificates for QUIC, where HTTP/3 is spoken.
    quic: Option<Arc<ServerConfig>>,
    ground: Ground,
}

/// What settings depend on beside their certificate and their rule.
struct Ground {
    policy: TlsPolicy,
    client_roots: Vec<Vec<u8>>,
    tickets: Arc<Tickets>,
}

impl Ground {
    fn is_like(&self, other: &Self) -> bool {
        self.policy == other.policy
            && self.client_roots == other.client_roots
            && Arc::ptr_eq(&self.tickets, &other.tickets)
    }
}

/// What was prepared before, by the first certificate of a chain.
type Prepared<'b> = HashMap<&'b [u8], (&'b Certificate, &'b Chosen)>;

fn prepared(before: &ServerTls) -> Prepared<'_> {
    let all = before.table.all().iter();
    all.filter_map(|(one, by_rule)| Some((one.chain.first()?.as_slice(), (&**one, &by_rule.plain))))
        .collect()
}

fn is_same(one: &Certificate, other: &Certificate) -> bool {
    one.chain == other.chain && one.key.is_same(&other.key)
}

/// What a handshake is done with under each rule.
struct ByRule {
    plain: Chosen,
    /// By the place of the rule in `Rules::all`; those of hosts that the certificate may be shown
    /// for.
    ruled: Vec<(usize, Chosen)>,
    /// The same without HTTP/2, where there are hosts that leave it out.
    http1: Option<Box<Self>>,
}

impl ByRule {
    // The same, with HTTP/1.1 alone to choose from.
    fn over_http1(&self) -> Self {
        let over_http1 = |one: &Chosen| {
            let mut config = ServerConfig::clone(&one.config);
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            let names = Arc::clone(&one.names);
            Chosen { config: Arc::new(config), names, rule: one.rule.clone() }
        };
        Self {
            plain: over_http1(&self.plain),
            ruled: self.ruled.iter().map(|(at, one)| (*at, over_http1(one))).collect(),
            http1: None,
        }
    }
}

/// Which hosts leave HTTP/2 out; `None` in the place of it: none does.
struct Http1Only {
    hosts: HostTable,
    /// By distribution.
    of: Vec<bool>,
}

impl Http1Only {
    fn new(site: &Site) -> Option<Self> {
        let of: Vec<bool> =
            site.distributions.iter().map(|one| !one.versions.has_http2()).collect();
        of.contains(&true).then(|| Self { hosts: site.hosts.clone(), of })
    }

    // Whether a server name is that of such a host; a viewer that names none may mean what takes
    // every host.
    fn takes(&self, server_name: Option<&str>) -> bool {
        let at = self.hosts.find(server_name.unwrap_or_default());
        at.is_some_and(|at| self.of.get(at) == Some(&true))
    }
}

/// Which hosts want what of their viewers' certificates; `None` in the place of it: none wants any.
struct Rules {
    all: Vec<Arc<ClientCertificates>>,
    hosts: HostTable,
    /// By distribution.
    of: Vec<Option<usize>>,
}

impl Rules {
    fn new(site: &Site) -> Option<Self> {
        let mut all: Vec<Arc<ClientCertificates>> = Vec::new();
        let mut place = |rule: &Arc<ClientCertificates>| {
            all.iter().position(|known| known == rule).unwrap_or_else(|| {
                all.push(Arc::clone(rule));
                all.len() - 1
            })
        };
        let of: Vec<Option<usize>> = site
            .distributions
            .iter()
            .map(|one| one.client_certificates.as_ref().map(&mut place))
            .collect();
        (!all.is_empty()).then(|| Self { all, hosts: site.hosts.clone(), of })
    }

    // The rule of a server name; a viewer that names none may mean what takes every host.
    fn at(&self, server_name: Option<&str>) -> Option<usize> {
        let at = self.hosts.find(server_name.unwrap_or_default())?;
        self.of.get(at).copied().flatten()
    }

    // The rules under which a certificate may be shown; the default one under all.
    fn for_certificate(&self, site: &Site, certificate: &Arc<Certificate>) -> Vec<usize> {
        let is_default = site.certificates.first().is_some_and(|one| Arc::ptr_eq(one, certificate));
        if is_default {
            return (0..self.all.len()).collect();
        }
        let mut found: Vec<usize> = site
            .distributions
            .iter()
            .zip(&self.of)
            .filter_map(|(one, rule)| {
                let mut hosts = one.hosts.iter();
                rule.filter(|_| hosts.any(|host| may_stand_for(&certificate.names, host)))
            })
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

// Whether a handshake for some host under this pattern may be done with a certificate of these
// names.
fn may_stand_for(names: &[String], pattern: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some("") => true,
        Some(suffix) => names.iter().any(|name| name.ends_with(suffix)),
        None => covers(names, pattern),
    }
}

/// A certificate ready for handshakes.
#[derive(Clone)]
pub struct Chosen {
    pub config: Arc<ServerConfig>,
    pub names: Arc<[String]>,
    /// What is wanted of the viewer's own certificate, and what verifies that.
    pub rule: Option<Ruling>,
}

/// A rule about viewers' certificates, ready for handshakes.
#[derive(Clone)]
pub struct Ruling {
    pub rule: Arc<ClientCertificates>,
    pub verifier: Arc<dyn ClientCertVerifier>,
}

impl ServerTls {
    /// Prepares every certificate of a site.
    pub fn new(site: &Site, tickets: &Arc<Tickets>) -> Result<Self, String> {
        Self::following(site, tickets, None)
    }

    /// The same where others were in force: what was prepared for a certificate that stays is used
    /// again, with the sessions that it remembers.
    pub fn following(
        site: &Site,
        tickets: &Arc<Tickets>,
        before: Option<&Self>,
    ) -> Result<Self, String> {
        let ground = Ground {
            policy: site.tls_policy,
            client_roots: site.listen.client_roots.clone(),
            tickets: Arc::clone(tickets),
        };
        let before = before.filter(|before| before.ground.is_like(&ground));
        let known = before.map(prepared).unwrap_or_default();
        let known = |certificate: &Certificate| {
            let (one, chosen) = known.get(certificate.chain.first()?.as_slice())?;
            is_same(one, certificate).then(|| Chosen::clone(chosen))
        };
        let rules = Rules::new(site);
        let http1_only = Http1Only::new(site);
        let prepare = |certificate: &Arc<Certificate>| {
            let names: Arc<[String]> = certificate.names.clone().into();
            let chosen = |rule: Option<&Arc<ClientCertificates>>| {
                let rule = rule.map(|rule| ruling(rule, site.tls_policy)).transpose()?;
                let asks = match &rule {
                    Some(ruling) => Asks::Viewers(ruling),
                    None => Asks::Edges(&site.listen.client_roots),
                };
                let config = server_config(certificate, site.tls_policy, (tickets, asks))?;
                Ok::<_, String>(Chosen { config, names: Arc::clone(&names), rule })
            };
            let mut ruled = Vec::new();
            if let Some(rules) = &rules {
                for at in rules.for_certificate(site, certificate) {
                    ruled.push((at, chosen(rules.all.get(at))?));
                }
            }
            let plain = known(certificate).map_or_else(|| chosen(None), Ok)?;
            let mut by_rule = ByRule { plain, ruled, http1: None };
            if http1_only.is_some() {
                by_rule.http1 = Some(Box::new(by_rule.over_http1()));
            }
            Ok::<_, String>((Arc::clone(certificate), by_rule))
        };
        let all = site.certificates.iter().map(prepare).collect::<Result<Vec<_>, String>>()?;
        let quic = || match before.and_then(|before| before.quic_for(site)) {
            Some(known) => Ok(known),
            None => quic_config(site, tickets),
        };
        let quic = site.listen.http3.is_on().then(quic).transpose()?;
        let (table, unknown_sni) = (ByName::new(all), site.listen.unknown_sni);
        Ok(Self { table, rules, http1_only, unknown_sni, quic, ground })
    }

    // The settings for QUIC, if they are for exactly these certificates.
    fn quic_for(&self, site: &Site) -> Option<Arc<ServerConfig>> {
        let (own, all) = (self.table.all(), &site.certificates);
        let mut both = own.iter().zip(all);
        let is_whole = own.len() == all.len()
            && self.unknown_sni == site.listen.unknown_sni
            && both.all(|((one, _), other)| is_same(one, other));
        self.quic.clone().filter(|_| is_whole)
    }

    /// Settings of all certificates for QUIC, where HTTP/3 is spoken.
    pub const fn quic(&self) -> Option<&Arc<ServerConfig>> {
        self.quic.as_ref()
    }

    /// What a certificate stands for that was shown over QUIC to a viewer which asked for this
    /// name. Where it may have been one of several, it is what all of them stand for.
    pub fn names_of(&self, server_name: Option<&str>) -> Option<Arc<[String]>> {
        let name = server_name.map(str::to_ascii_lowercase);
        let candidates = self.table.candidates(name.as_deref());
        let (first, others) = candidates.split_first()?;
        if others.is_empty() {
            return Some(Arc::clone(&first.plain.names));
        }
        let has = |name: &&String| others.iter().all(|other| other.plain.names.contains(*name));
        Some(first.plain.names.iter().filter(has).cloned().collect())
    }

    /// Settings with the default certificate and HTTP/1.1 alone, for the admin listener.
    pub fn default_config(&self) -> Option<Arc<ServerConfig>> {
        let (_, chosen) = self.table.first()?;
        let mut config = ServerConfig::clone(&chosen.plain.config);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Some(Arc::new(config))
    }

    /// Chooses by what the viewer's hello says. `None`: nothing is to be shown for it.
    pub fn choose(&self, hello: &ClientHello<'_>, local: IpAddr) -> Option<&Chosen> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let name = name.as_deref();
        if self.unknown_sni == UnknownSni::Refuse && !self.table.knows(name, local) {
            return None;
        }
        let (_, by_rule) = self.table.choose(name, hello.signature_schemes(), local)?;
        let is_http1 = self.http1_only.as_ref().is_some_and(|known| known.takes(name));
        let by_rule = by_rule.http1.as_deref().filter(|_| is_http1).unwrap_or(by_rule);
        match self.rules.as_ref().and_then(|rules| rules.at(name)) {
            None => Some(&by_rule.plain),
            Some(rule) => by_rule.ruled.iter().find(|(at, _)| *at == rule).map(|(_, one)| one),
        }
    }
}

/// Whose certificates a listener asks for.
#[derive(Clone, Copy)]
enum Asks<'a> {
    /// Of edges, if there are roots (DER) that they are known by; a viewer need not show one.
    Edges(&'a [Vec<u8>]),
    Viewers(&'a Ruling),
}

fn provider(policy: TlsPolicy) -> CryptoProvider {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| allows(policy, suite));
    provider
}

fn ruling(rule: &Arc<ClientCertificates>, policy: TlsPolicy) -> Result<Ruling, String> {
    let verifier = viewer_rule::verifier(rule, Arc::new(provider(policy)))?;
    Ok(Ruling { rule: Arc::clone(rule), verifier })
}

fn server_config(
    certificate: &Certificate,
    policy: TlsPolicy,
    (tickets, asks): (&Arc<Tickets>, Asks<'_>),
) -> Result<Arc<ServerConfig>, String> {
    let provider = provider(policy);
    let key = certified_key(certificate, &provider)?;
    let versions: &[&rustls::SupportedProtocolVersion] = match policy {
        TlsPolicy::Tls13_2025 => &[&rustls::version::TLS13],
        TlsPolicy::Tls12_2021 | TlsPolicy::Tls12_2025 => {
            &[&rustls::version::TLS13, &rustls::version::TLS12]
        }
    };
    let provider = Arc::new(provider);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|error| error.to_string())?;
    let builder = match asks {
        Asks::Edges([]) => builder.with_no_client_auth(),
        Asks::Edges(roots) => {
            builder.with_client_cert_verifier(clients::verifier(roots, provider)?)
        }
        Asks::Viewers(ruling) => builder.with_client_cert_verifier(Arc::clone(&ruling.verifier)),
    };
    let mut config =
        builder.with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = match asks {
        Asks::Edges(roots) => ticketer(tickets, roots),
        Asks::Viewers(ruling) => tickets.under(viewer_rule::ticket_rule(&ruling.rule)),
    };
    if matches!(asks, Asks::Viewers(_)) {
        // Tickets alone are taken up, which their rule has sealed.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    }
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

/// Shows each viewer the certificate for the name that it asks for.
struct ByHello {
    table: ByName<Arc<CertifiedKey>>,
    unknown_sni: UnknownSni,
}

impl std::fmt::Debug for ByHello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ByHello(secret)")
    }
}

impl ResolvesServerCert for ByHello {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        // Which of our addresses was asked is not known here.
        let local = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let name = name.as_deref();
        if self.unknown_sni == UnknownSni::Refuse && !self.table.knows(name, local) {
            return None;
        }
        self.table.choose(name, hello.signature_schemes(), local).map(|(_, key)| Arc::clone(key))
    }
}

// One for all certificates: rustls can be asked before a handshake over TCP alone.
fn quic_config(site: &Site, tickets: &Arc<Tickets>) -> Result<Arc<ServerConfig>, String> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| suite.tls13().is_some());
    let ready = |certificate: &Arc<Certificate>| {
        let key = certified_key(certificate, &provider)?;
        Ok((Arc::clone(certificate), Arc::new(key)))
    };
    let all = site.certificates.iter().map(ready).collect::<Result<Vec<_>, String>>()?;
    let unknown_sni = site.listen.unknown_sni;
    let resolver = Arc::new(ByHello { table: ByName::new(all), unknown_sni });
    let provider = Arc::new(provider);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?;
    let roots = &site.listen.client_roots[..];
    let builder = match roots {
        [] => builder.with_no_client_auth(),
        _ => builder.with_client_cert_verifier(clients::verifier(roots, provider)?),
    };
    let mut config = builder.with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"h3".to_vec()];
    // Early data stays off: it could be sent again by others (RFC 8446 §8).
    config.ticketer = ticketer(tickets, roots);
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

fn ticketer(tickets: &Arc<Tickets>, client_roots: &[Vec<u8>]) -> Arc<dyn ProducesTickets> {
    let tickets = tickets.under(ClientRule::NONE);
    match client_roots {
        [] => tickets,
        roots => Arc::new(UnderRoots::new(tickets, roots)),
    }
}

fn allows(policy: TlsPolicy, suite: &SupportedCipherSuite) -> bool {
    let chacha12 = matches!(
        suite.suite(),
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
    );
    match policy {
        TlsPolicy::Tls12_2021 => true,
        TlsPolicy::Tls12_2025 => !chacha12,
        TlsPolicy::Tls13_2025 => suite.tls13().is_some(),
    }
}

/// What OpenSSL, and so CloudFront, calls a cipher suite.
pub const fn openssl_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => {
            "ECDHE-ECDSA-CHACHA20-POLY1305"
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
        _ => "-",
    }
}

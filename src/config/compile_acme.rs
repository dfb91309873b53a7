//! `[[certificate]]`: in files, or `acme = …`, ordered of a CA, and what serves until it is there.

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};

use super::compile_origin::roots;
use super::compile_tls::{from_files, ids, read_issued};
use super::credentials;
use super::reader::{Found, Table};
use super::scope::Scope;
use crate::base::secret::Secret;
use crate::distribution::acme::{
    Acme, Challenge, DnsCommand, Eab, Folder, KeyType, LETSENCRYPT, LETSENCRYPT_STAGING, Orders,
};
use crate::distribution::certificate::{Certificate, Serves, covers};
use crate::distribution::fleet::Fleet;
use crate::distribution::host::parse_authority;
use crate::distribution::origin::Roots;
use crate::tls::interim;

/// A CA issues for so many names at most.
const NAMES_MAX: usize = 100;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http01,
    TlsAlpn01,
    Dns01,
}

/// Reads every `[[certificate]]` of a file: those in files, and those that are ordered.
pub fn certificates(
    root: &mut Table<'_>,
    data: &Path,
    fleet: Option<&Fleet>,
    scope: &mut Scope<'_>,
) -> Vec<Certificate> {
    let mut all = Vec::new();
    for mut table in root.tables("certificate") {
        let Some(acme) = table.table("acme") else {
            all.extend(from_files(table, scope));
            continue;
        };
        let ids = ids(&mut table);
        if table.has("chain") || table.has("key") || table.has("make_for") {
            let title = "a certificate is either ordered (acme) or in files (chain, key)";
            table.problem(&table.span(), title, None);
        } else {
            table.finish();
        }
        all.extend(read(acme, (data, fleet), scope).map(|made| Certificate { ids, ..made }));
    }
    all
}

/// Leaves out what signs itself where others stand for all its names: whoever orders what lies in
/// files already goes on with those until it is issued.
pub fn without_needless(all: Vec<Certificate>) -> Vec<Certificate> {
    let lasting: Vec<String> = all
        .iter()
        .filter(|one| one.serves == Serves::Throughout)
        .flat_map(|one| one.names.clone())
        .collect();
    let is_needed = |one: &Certificate| {
        let mut names = one.names.iter();
        one.serves == Serves::Throughout
            || !names.all(|name| lasting.contains(name) || covers(&lasting, name))
    };
    all.into_iter().filter(is_needed).collect()
}

// Reads the `acme` of a certificate; gives back what is served for it.
fn read(
    mut table: Table<'_>,
    around: (&Path, Option<&Fleet>),
    scope: &mut Scope<'_>,
) -> Option<Certificate> {
    let span = table.span();
    if !cfg!(feature = "acme") {
        table.problem(&span, "this build orders no certificates (Cargo feature `acme`)", None);
    }
    let acme = order(&mut table, around, scope);
    let made = acme.as_ref().and_then(|acme| match served(acme, scope) {
        Ok(served) => Some(served),
        Err(why) => {
            table.problem(&span, format!("no certificate could be made meanwhile: {why}"), None);
            None
        }
    });
    if let Some(acme) = acme {
        if scope.acme.iter().any(|known| known.entry() == acme.entry()) {
            let title = "this certificate is ordered by another [[certificate]] already";
            table.problem(&span, title, Some("names, directory and key are the same".into()));
        }
        scope.acme.push(acme);
    }
    table.finish();
    made
}

// What is to be ordered, and where. All keys are asked for, whatever is wrong with the first.
fn order(
    table: &mut Table<'_>,
    (data, fleet): (&Path, Option<&Fleet>),
    scope: &mut Scope<'_>,
) -> Option<Acme> {
    let base = scope.folder(table.source());
    let names = names(table);
    let directory = directory(table);
    let roots = roots(table, &base, &mut scope.files).unwrap_or(Roots::System);
    let contact = contact(table);
    accepts_terms(table);
    let words = [KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::Rsa2048];
    let words = words.map(|key| (key.word(), key));
    let key = table.word("key", &words).map_or(KeyType::EcdsaP256, |found| found.value);
    let eab = table.table("eab").and_then(|table| eab(table, &base, scope));
    let challenge = challenge(table, &names);
    let folder = match table.string("folder") {
        Some(found) => Folder::Shared(super::at(&base, found.value)),
        None => Folder::Own(data.join("acme")),
    };
    let orders = orders(table, &folder, fleet);
    let challenge = challenge.filter(|_| !names.is_empty())?;
    if let Orders::Member(orderer) = &orders {
        scope.remarks.push(format!("{}: ordered by {orderer:?} of the fleet", names.join(", ")));
    }
    Some(Acme { names, directory, roots, contact, key, eab, challenge, folder, orders })
}

// Which member of the fleet orders. What is issued has to travel unseen.
fn orders(table: &mut Table<'_>, folder: &Folder, fleet: Option<&Fleet>) -> Orders {
    let Some(Found { value: orderer, span }) = table.string("orderer") else { return Orders::Here };
    let Some(fleet) = fleet else {
        table.problem(
            &span,
            "an orderer is a member of a fleet, and there is no usable [fleet]",
            None,
        );
        return Orders::Here;
    };
    if fleet.tickets.is_none() {
        table.problem(
            &span,
            "what is issued travels under fleet.ticket_key, and there is none",
            Some(
                "[fleet] ticket_key = { file = \"secrets/tickets\" }, the same on all members"
                    .into(),
            ),
        );
    }
    if matches!(folder, Folder::Shared(_)) {
        let title = "edges share a folder, or one orders for its fleet: not both";
        table.problem(&span, title, Some("leave out folder or orderer".into()));
    }
    if orderer == fleet.member { Orders::ForFleet } else { Orders::Member(orderer) }
}

// What is issued, if it can be used, or a self-made one. The file is watched: an edge that shares
// the folder may put it there.
fn served(acme: &Acme, scope: &mut Scope<'_>) -> Result<Certificate, String> {
    let path = acme.issued();
    scope.files.push(path.clone());
    if path.exists() {
        match read_issued(&path, scope.now) {
            Ok(issued) if acme.names.iter().all(|name| issued.names.contains(name)) => {
                return Ok(issued);
            }
            Ok(_) => scope.warnings.push(format!("{}: is for other names", path.display())),
            Err(why) => scope.warnings.push(format!(
                "{why}; a certificate that signs itself serves until another is issued"
            )),
        }
    } else {
        scope.remarks.push(format!(
            "{}: not issued yet; a certificate that signs itself serves until it is",
            acme.names.join(", ")
        ));
    }
    interim::certificate(&acme.names, format!("{} (signs itself)", path.display()))
}

fn names(table: &mut Table<'_>) -> Vec<String> {
    let Some(list) = table.strings("names") else {
        table.missing("names", "names = [\"www.example.com\", \"*.example.com\"]");
        return Vec::new();
    };
    let mut all: Vec<String> = Vec::new();
    for item in &list.value {
        match dns_name(&item.value) {
            Some(name) if all.contains(&name) => {
                table.problem(&item.span, format!("{name:?} stands twice"), None);
            }
            Some(name) => all.push(name),
            None => table.problem(
                &item.span,
                format!("{:?} is no name that a CA issues for", item.value),
                Some("a DNS name without port, perhaps with \"*.\" in front".into()),
            ),
        }
    }
    if list.value.is_empty() || all.len() > NAMES_MAX {
        table.problem(&list.span, format!("names must be 1 to {NAMES_MAX}"), None);
    }
    all
}

// A DNS name in lower case: labels of letters, digits and hyphens, two of them at least unless it
// is a test's.
fn dns_name(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let bare = lower.strip_prefix("*.").unwrap_or(&lower);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_name = bare.len() <= 253
        && bare.split('.').all(is_label)
        && bare.parse::<std::net::IpAddr>().is_err();
    is_name.then_some(lower)
}

fn directory(table: &mut Table<'_>) -> String {
    let found = table.parsed("directory", |text| match text {
        "letsencrypt" => Ok(LETSENCRYPT.to_string()),
        "letsencrypt-staging" => Ok(LETSENCRYPT_STAGING.to_string()),
        url => {
            let rest = url.strip_prefix("https://").unwrap_or("");
            let authority = rest.split(['/', '?']).next().unwrap_or("");
            match parse_authority(authority) {
                Some(_) if url.bytes().all(|b| b.is_ascii_graphic()) && url.len() <= 2000 => {
                    Ok(url.to_string())
                }
                _ => Err("\"letsencrypt\", \"letsencrypt-staging\" or an https URL".to_string()),
            }
        }
    });
    // What is tried out is not to use up the limits of a CA that viewers trust.
    found.map_or_else(|| LETSENCRYPT_STAGING.to_string(), |found| found.value)
}

fn contact(table: &mut Table<'_>) -> Vec<String> {
    let Some(list) = table.strings("contact") else { return Vec::new() };
    let mut all = Vec::new();
    for Found { value, span } in list.value {
        let is_address = |text: &str| text.contains('@') && !text.contains([' ', ',', '?']);
        if value.strip_prefix("mailto:").is_some_and(is_address) {
            all.push(value);
        } else {
            let help = "such as \"mailto:certificates@example.com\"";
            table.problem(&span, format!("{value:?} is no contact"), Some(help.into()));
        }
    }
    all
}

// Without agreement no CA issues; that it is the operator's is why it has to be written down.
fn accepts_terms(table: &mut Table<'_>) {
    match table.flag("accept_terms") {
        Some(Found { value: true, .. }) => {}
        Some(Found { span, .. }) => table.problem(
            &span,
            "no CA issues without agreement to its terms of service",
            Some("read them, and set accept_terms = true".into()),
        ),
        None => table.missing("accept_terms", "accept_terms = true, once you have read the CA's"),
    }
}

fn eab(mut table: Table<'_>, folder: &Path, scope: &mut Scope<'_>) -> Option<Eab> {
    let kid = table.string("kid");
    if kid.is_none() {
        table.missing("kid", "kid = \"the CA's id of your account there\"");
    }
    let hmac = match table.table("hmac") {
        Some(secret) => {
            let span = secret.span();
            credentials::secret(secret, folder, &mut scope.files).map(|text| (text, span))
        }
        None => {
            table.missing("hmac", "hmac = { file = \"eab.key\" }");
            None
        }
    };
    let decoded = hmac.and_then(|(text, span)| {
        let text = text.expose();
        let octets = URL_SAFE_NO_PAD.decode(text).or_else(|_| URL_SAFE.decode(text));
        if octets.is_err() {
            table.problem(&span, "the key is not base64url", None);
        }
        octets.ok().map(Secret::new)
    });
    table.finish();
    Some(Eab { kid: kid?.value, hmac: decoded? })
}

fn challenge(table: &mut Table<'_>, names: &[String]) -> Option<Challenge> {
    let words =
        [("http-01", Kind::Http01), ("tls-alpn-01", Kind::TlsAlpn01), ("dns-01", Kind::Dns01)];
    let is_said = table.has("challenge");
    let found = table.word("challenge", &words);
    let command = table.strings("dns_command");
    let patience =
        table.duration("dns_timeout").map_or(Duration::from_secs(60), |found| found.value);
    let settle = table.duration("dns_wait").map_or(Duration::from_secs(10), |found| found.value);
    let Some(found) = found else {
        if !is_said {
            let example = "challenge = \"http-01\", \"tls-alpn-01\" or \"dns-01\"";
            table.missing("challenge", example);
        }
        return None;
    };
    if found.value != Kind::Dns01 && names.iter().any(|name| name.starts_with("*.")) {
        table.problem(
            &found.span,
            "a wildcard can be proved in DNS only",
            Some("challenge = \"dns-01\", with dns_command".into()),
        );
    }
    match (found.value, command) {
        (Kind::Http01, None) => Some(Challenge::Http01),
        (Kind::TlsAlpn01, None) => Some(Challenge::TlsAlpn01),
        (Kind::Dns01, Some(words)) if !words.value.is_empty() => {
            let words = words.value.into_iter().map(|word| word.value).collect();
            Some(Challenge::Dns01(DnsCommand { words, patience, settle }))
        }
        (Kind::Dns01, _) => {
            table.missing("dns_command", "dns_command = [\"/usr/local/bin/dns-record\"]");
            None
        }
        (_, Some(words)) => {
            table.problem(&words.span, "dns_command is for challenge = \"dns-01\"", None);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_signs_itself_gives_way_to_what_stands_for_all_its_names() {
        let made = |names: &[&str], serves: Serves| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_string()).collect();
            Certificate { serves, ..interim::certificate(&names, String::new()).unwrap() }
        };
        let all = vec![
            made(&["www.example.com", "*.example.com"], Serves::UntilIssued),
            made(&["www.example.com", "example.com"], Serves::UntilIssued),
            made(&["shop.test"], Serves::UntilIssued),
            made(&["*.example.com"], Serves::Throughout),
        ];
        let left: Vec<_> = without_needless(all).into_iter().map(|one| one.names).collect();
        assert_eq!(
            left,
            [vec!["www.example.com", "example.com"], vec!["shop.test"], vec!["*.example.com"]]
        );
    }

    #[test]
    fn names_are_dns_names() {
        for (text, name) in [
            ("www.Example.com", Some("www.example.com")),
            ("*.example.com", Some("*.example.com")),
            ("localhost", Some("localhost")),
            ("xn--bcher-kva.example", Some("xn--bcher-kva.example")),
            ("*", None),
            ("a.*.example.com", None),
            ("192.0.2.1", None),
            ("::1", None),
            ("www.example.com:443", None),
            ("www.example.com.", None),
            ("-a.example", None),
            ("b\u{fc}cher.example", None),
            ("", None),
        ] {
            assert_eq!(dns_name(text).as_deref(), name, "{text:?}");
        }
    }
}

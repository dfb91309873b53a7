//! `client_certificates` of a distribution: what it wants of its viewers' certificates, and the
//! authorities it believes; `[trust_store.NAME]`, which several may name.

use std::path::Path;
use std::sync::Arc;

use super::decode;
use super::reader::{Found, Table};
use super::report::nearest;
use super::scope::{Scope, names};
use crate::distribution::viewer_tls::{ClientCertificates, Expiry, Hints, Mode};
use crate::tls::viewer_rule::{ROOTS_MAX, verifier};

/// Which side of a deployment a distribution is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Primary,
    Staging,
}

const MODES: [(&str, Mode); 3] = [
    ("required", Mode::Required),
    ("optional", Mode::Optional),
    ("passthrough", Mode::Passthrough),
];

/// The largest trust store that is read.
const FILE_MAX: u64 = 1 << 20;

/// Reads the table; `None` where it is not there or of no use, each mistake being reported.
pub fn client_certificates(
    table: &mut Table<'_>,
    scope: &mut Scope<'_>,
    side: Side,
) -> Option<Arc<ClientCertificates>> {
    let mut one = table.table("client_certificates")?;
    let span = one.span();
    if side == Side::Staging {
        let help = "a handshake comes before a side is chosen: say it at the distribution that this one is for";
        one.problem(
            &span,
            "a staging distribution has no client_certificates of its own",
            Some(help.into()),
        );
    }
    let mode = one.word("mode", &MODES);
    if mode.is_none() && !one.has("mode") {
        one.missing("mode", "mode = \"required\", \"optional\" or \"passthrough\"");
    }
    let mode = mode.map(|found| found.value);
    let roots = roots(&mut one, scope, mode);
    let (ignores, advertises) = (one.flag("ignore_expiry"), one.flag("advertise"));
    if mode == Some(Mode::Passthrough) {
        for found in [&ignores, &advertises].into_iter().flatten() {
            let help = "mode = \"passthrough\" verifies nothing; \"optional\" does";
            one.problem(
                &found.span,
                "nothing is verified, so this means nothing",
                Some(help.into()),
            );
        }
    }
    one.finish();
    let is_set = |found: Option<Found<bool>>| found.is_some_and(|found| found.value);
    let expiry = if is_set(ignores) { Expiry::Ignored } else { Expiry::Checked };
    let hints = if is_set(advertises) { Hints::Advertised } else { Hints::Silent };
    Some(Arc::new(ClientCertificates { mode: mode?, roots: roots?, expiry, hints }))
}

/// Reads `[trust_store.NAME]`: authorities that distributions name, CloudFront's trust stores by
/// their ids or ARNs among them.
pub fn trust_stores(root: &mut Table<'_>, scope: &mut Scope<'_>) {
    for (name, mut table) in root.named_tables("trust_store") {
        let file = table.string("file");
        if file.is_none() && !table.has("file") {
            table.missing("file", "file = \"clients-ca.pem\"");
        }
        let roots = file.and_then(|file| roots_of(&table, &file, scope)).unwrap_or_default();
        table.finish();
        // One with a mistake is known, too: who names it has made none.
        scope.trust_stores.insert(name.value, roots);
    }
}

// The authorities that are believed, which passthrough has none of. `None` where a mistake was
// reported.
fn roots(table: &mut Table<'_>, scope: &mut Scope<'_>, mode: Option<Mode>) -> Option<Vec<Vec<u8>>> {
    let is_passed = mode == Some(Mode::Passthrough);
    let (file, store) = (table.string("trust_store"), table.string("trust_store_id"));
    let Some(found) = file.as_ref().or(store.as_ref()) else {
        if is_passed {
            return Some(Vec::new());
        }
        if !table.has("trust_store") && !table.has("trust_store_id") && mode.is_some() {
            table.missing("trust_store", "trust_store = \"clients-ca.pem\"");
        }
        return None;
    };
    if is_passed {
        let help = "mode = \"passthrough\" takes any certificate; without trust_store, or with another mode";
        table.problem(
            &found.span,
            "nothing is verified, so no authority is believed",
            Some(help.into()),
        );
        return None;
    }
    match (&file, &store) {
        (Some(_), Some(store)) => {
            let title = "the authorities are those of a file or of a trust store, not of both";
            table.problem(&store.span, title, None);
            None
        }
        (None, Some(store)) => {
            let known = scope.trust_stores.get(&store.value).cloned();
            if known.is_none() {
                let help = nearest(&store.value, names(&scope.trust_stores)).map_or_else(
                    || format!("[trust_store.{:?}] with a file makes it known", store.value),
                    |near| format!("did you mean {near:?}?"),
                );
                let title = format!("there is no trust store {:?}", store.value);
                table.problem(&store.span, title, Some(help));
            }
            known
        }
        (file, _) => file.as_ref().and_then(|file| roots_of(table, file, scope)),
    }
}

// The authorities of a file that some key names.
fn roots_of(
    table: &Table<'_>,
    found: &Found<String>,
    scope: &mut Scope<'_>,
) -> Option<Vec<Vec<u8>>> {
    let path = super::at(scope.folder(table.source()), &found.value);
    scope.files.push(path.clone());
    match read(&path) {
        Ok(roots) => Some(roots),
        Err(why) => {
            let help = "a file of PEM certificates, of the authorities that viewers are known by";
            table.problem(&found.span, format!("{}: {why}", path.display()), Some(help.into()));
            None
        }
    }
}

fn read(path: &Path) -> Result<Vec<Vec<u8>>, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > FILE_MAX {
        return Err(format!("has {size} octets, and a trust store has {FILE_MAX} at most"));
    }
    let all = decode::certificates(path)?;
    let mut roots: Vec<Vec<u8>> = Vec::new();
    for der in all {
        if !roots.iter().any(|known| known[..] == der[..]) {
            roots.push(der.to_vec());
        }
    }
    if roots.is_empty() {
        return Err("holds no certificate".into());
    }
    if roots.len() > ROOTS_MAX {
        return Err(format!("holds {} certificates, and {ROOTS_MAX} are the most", roots.len()));
    }
    let (mode, expiry, hints) = (Mode::Required, Expiry::Checked, Hints::Silent);
    let rule = ClientCertificates { mode, roots, expiry, hints };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    verifier(&rule, provider)?;
    Ok(rule.roots)
}

//! `client_certificates` of a distribution: what it wants of its viewers' certificates, and the
//! authorities it believes.

use std::path::Path;
use std::sync::Arc;

use super::decode;
use super::reader::Table;
use super::scope::Scope;
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
    let is_set = |found: Option<super::reader::Found<bool>>| found.is_some_and(|found| found.value);
    let expiry = if is_set(ignores) { Expiry::Ignored } else { Expiry::Checked };
    let hints = if is_set(advertises) { Hints::Advertised } else { Hints::Silent };
    Some(Arc::new(ClientCertificates { mode: mode?, roots: roots?, expiry, hints }))
}

// The trust store, which passthrough has none of. `None` where a mistake was reported.
fn roots(table: &mut Table<'_>, scope: &mut Scope<'_>, mode: Option<Mode>) -> Option<Vec<Vec<u8>>> {
    let is_passed = mode == Some(Mode::Passthrough);
    let Some(found) = table.string("trust_store") else {
        if is_passed {
            return Some(Vec::new());
        }
        if !table.has("trust_store") && mode.is_some() {
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

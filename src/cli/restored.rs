//! What an edge finds in its data folder: its name and its token, what was invalidated, keys of
//! tickets, and what functions read.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use super::seal;
use crate::base::secret::Secret;
use crate::clock::Clock;
use crate::distribution::site::Site;
use crate::functions::values::stores::Stores;
use crate::invalidation::chain::Incarnation;
use crate::invalidation::log::{InvalidationLog, InvalidationRecord};
use crate::proxy::Edge;
use crate::tls::server::ServerTls;
use crate::tls::tickets::Tickets;

/// An edge with what was kept of the one before on its data folder.
pub(super) struct Restored {
    pub edge: Arc<Edge>,
    pub token: Secret<String>,
    /// The life that ended in order here.
    pub heir_of: Option<Incarnation>,
    pub log: Arc<InvalidationLog>,
    /// What that has.
    pub records: Vec<InvalidationRecord>,
    pub tickets: Arc<Tickets>,
    pub tls: ServerTls,
}

impl Restored {
    /// Of a site, whose data folder is this process's.
    pub(super) fn of(site: &Arc<Site>, clock: &Clock) -> Result<Self, String> {
        let node = keep_word(&site.data.join("node-id"), 8)?;
        let token = match &site.admin.token {
            Some(token) => token.clone(),
            None => Secret::new(keep_word(&site.data.join("admin-token"), 32)?),
        };
        let heir_of = seal::take(&site.data)?;
        let (log, records) = InvalidationLog::open(&site.data)
            .map_err(|error| format!("the invalidation log in {}: {error}", site.data.display()))?;
        let sharing = site.fleet.as_ref().filter(|fleet| fleet.tickets.is_some());
        let sharing = sharing.map(|fleet| fleet.name.as_str());
        let tickets = Tickets::open(&site.data, clock.clone(), sharing);
        let tls = ServerTls::new(site, &tickets)?;
        let stores = Stores::open(&site.data)?;
        let edge = Edge::with_stores(Arc::clone(site), node, clock.clone(), stores);
        let log = Arc::new(log);
        edge.invalidation.keep_log(Arc::clone(&log), &records);
        for passed in records.iter().filter_map(|record| record.from.as_ref()) {
            edge.applied.note(passed, clock.now());
        }
        Ok(Self { edge, token, heir_of, log, records, tickets, tls })
    }
}

// A random word that is made once and kept, readable by its owner alone.
fn keep_word(path: &Path, octets: usize) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    if let Ok(text) = std::fs::read_to_string(path)
        && !text.trim().is_empty()
    {
        return Ok(text.trim().to_string());
    }
    let mut random = vec![0; octets];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| "no randomness".to_string())?;
    let word: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    file.write_all(format!("{word}\n").as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    Ok(word)
}

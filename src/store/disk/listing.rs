//! What an operator asks of the disk store: what lies there, whether it is whole, away with some of
//! it. Blocks.

use serde::{Deserialize, Serialize};

use super::Disk;
use super::index::Entry;
use super::queue::By;
use super::record::UNIT;
use super::segment_list::Brief;
use crate::cache::invalidations::{Matcher, canonical};
use crate::message::key::{readable, url_of};

/// Which responses; all of them if nothing is said.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// The beginning of a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The most that are shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<usize>,
}

/// One response on the disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    pub key: String,
    pub status: u16,
    /// Octets of the body.
    pub body: u64,
    /// Milliseconds since the epoch at which it was of age zero.
    pub born: u64,
    /// Milliseconds for which it is fresh.
    pub fresh: u64,
}

/// What a survey found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Survey {
    pub count: u64,
    pub bytes: u64,
    pub rows: Vec<Row>,
}

/// What checking found, in records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    pub whole: u64,
    pub damaged: u64,
}

/// The most rows of an answer, if nothing else is said.
const ROWS: usize = 1000;

impl Which {
    // Both must hold where both are given.
    fn judge(&self) -> Result<impl Fn(&Brief<'_>) -> bool, String> {
        let prefix = self
            .prefix
            .as_ref()
            .map(|prefix| Matcher::Prefix(canonical(prefix.as_bytes()).into_owned()));
        let tag = self
            .tag
            .as_ref()
            .map(|tag| Matcher::parse(&format!("#{}", tag.trim_start_matches('#'))))
            .transpose()?;
        Ok(move |brief: &Brief<'_>| {
            let url = canonical(url_of(brief.key));
            [&prefix, &tag].into_iter().flatten().all(|matcher| matcher.covers(&url, &brief.tags))
        })
    }
}

impl Disk {
    /// Lists responses.
    pub fn survey(&self, which: &Which) -> Result<Survey, String> {
        let (judge, max) = (which.judge()?, which.max.unwrap_or(ROWS));
        let mut found = Survey::default();
        self.visit(judge, |entry, brief| {
            found.count += 1;
            found.bytes += u64::from(entry.len) * UNIT;
            if found.rows.len() < max {
                let key = readable(brief.key);
                found.rows.push(Row {
                    key,
                    status: brief.status,
                    body: brief.body,
                    born: brief.born.0,
                    fresh: brief.fresh,
                });
            }
        });
        found.rows.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    /// Reads everything through. What is damaged is forgotten.
    pub fn verify(&self) -> Verified {
        let mut verified = Verified::default();
        let mut entries = Vec::new();
        self.each(|entry| entries.push(*entry));
        for entry in &entries {
            match self.check(entry) {
                Ok(Some(_)) => verified.whole += 1,
                Ok(None) => {
                    verified.damaged += 1;
                    self.is_bad(entry, &std::io::ErrorKind::InvalidData.into());
                }
                Err(error) => {
                    verified.damaged += 1;
                    self.is_bad(entry, &error);
                }
            }
        }
        verified
    }

    /// Forgets responses for good; says how many. Only where no edge serves from it.
    pub fn remove(&self, which: &Which) -> Result<u64, String> {
        let judge = which.judge()?;
        let mut gone: Vec<Entry> = Vec::new();
        self.visit(judge, |entry, _| gone.push(*entry));
        for entry in &gone {
            self.write_tombstone(entry.identity, By::Job).map_err(|error| error.to_string())?;
        }
        self.finish().map_err(|error| error.to_string())?;
        Ok(gone.len() as u64)
    }
}

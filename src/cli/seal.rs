//! The word in the data folder that an edge's log ended in order, for the next process to go on
//! behind it where every parent has heard so.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::invalidation::chain::Incarnation;

fn at(data: &Path) -> PathBuf {
    data.join("log-sealed")
}

/// Names the incarnation that ends.
pub(super) fn write(data: &Path, incarnation: Incarnation) -> io::Result<()> {
    let mut file = File::create(at(data))?;
    writeln!(file, "{incarnation}")?;
    file.sync_all()
}

/// Takes it away, for good: whatever becomes of this process, the other ended in order once only.
pub(super) fn take(data: &Path) -> Result<Option<Incarnation>, String> {
    let path = at(data);
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    withdraw(data).map_err(failed)?;
    Ok(Incarnation::parse(text.trim()))
}

/// The incarnation goes on all the same.
pub(super) fn withdraw(data: &Path) -> io::Result<()> {
    if let Err(error) = std::fs::remove_file(at(data))
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    File::open(data)?.sync_all()
}

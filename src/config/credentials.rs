//! Secrets by reference: `{ file = "…" }` or `{ env = "…" }`, never a literal.

use std::path::{Path, PathBuf};

use super::decode;
use super::reader::Table;
use crate::base::secret::Secret;

/// Reads a secret from the environment.
pub fn variable(name: &str) -> Result<Secret<String>, String> {
    match std::env::var(name) {
        Ok(value) if !value.trim().is_empty() => Ok(Secret::new(value.trim().to_string())),
        _ => Err(format!("the environment variable {name} is not set, or is not text")),
    }
}

/// Reads a secret of a table; the file it came from is to be watched.
pub fn secret(
    mut table: Table<'_>,
    folder: &Path,
    files: &mut Vec<PathBuf>,
) -> Option<Secret<String>> {
    let span = table.span();
    let (file, env) = (table.string("file"), table.string("env"));
    let read = match (file, env) {
        (Some(file), None) => {
            let path = super::at(folder, &file.value);
            files.push(path.clone());
            let text = decode::read_text(&path);
            text.map_err(|error| {
                (file.span, format!("the secret file {} cannot be read: {error}", path.display()))
            })
        }
        (None, Some(env)) => {
            let value = std::env::var(&env.value);
            value.map_err(|_| {
                (
                    env.span,
                    format!("the environment variable {} is not set, or is not text", env.value),
                )
            })
        }
        _ => Err((
            span.clone(),
            "a secret is either { file = \"…\" } or { env = \"…\" }".to_string(),
        )),
    };
    let secret = match read {
        Ok(text) if text.trim().is_empty() => {
            table.problem(&span, "the secret is empty", None);
            None
        }
        Ok(text) => Some(Secret::new(text.trim().to_string())),
        Err((place, why)) => {
            table.problem(&place, why, None);
            None
        }
    };
    table.finish();
    secret
}

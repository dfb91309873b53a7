//! `foreshore kv`: asks a running edge's admin listener for its key value stores.

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::admin_client::{Asker, DoorArgs};
use super::fail;
use super::printable::printable;
use crate::distribution::stores::is_name;
use crate::functions::values::file::FILE_MAX;

#[derive(Subcommand)]
pub(super) enum KvCommand {
    /// Print the value of a key; exit 1 if there is none.
    Get(KeyArgs),
    /// Give a key a value, whether it had one or not.
    Put(PutArgs),
    /// Remove keys: all of them, or none if one is not there.
    Delete(DeleteArgs),
    /// List the stores, or the keys of one.
    List(ListArgs),
    /// Replace everything in a store by what a file says.
    Import(ImportArgs),
    /// Print everything in a store, as a file to import.
    Export(StoreArgs),
}

#[derive(Args)]
pub(super) struct StoreArgs {
    #[command(flatten)]
    door: DoorArgs,
    /// Print the edge's answer as it is, as JSON.
    #[arg(long)]
    json: bool,
    /// The store's name.
    #[arg(value_name = "STORE")]
    store: String,
}

#[derive(Args)]
pub(super) struct KeyArgs {
    #[command(flatten)]
    of: StoreArgs,
    #[arg(value_name = "KEY")]
    key: String,
}

#[derive(Args)]
pub(super) struct PutArgs {
    #[command(flatten)]
    of: KeyArgs,
    /// The value; `-` reads it from standard input, without a line feed at its end.
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    value: String,
}

#[derive(Args)]
pub(super) struct DeleteArgs {
    #[command(flatten)]
    of: StoreArgs,
    #[arg(value_name = "KEY", required = true)]
    keys: Vec<String>,
}

#[derive(Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    door: DoorArgs,
    /// Print the edge's answers as they are, as JSON.
    #[arg(long)]
    json: bool,
    /// The store; the stores themselves if not given.
    #[arg(value_name = "STORE")]
    store: Option<String>,
    /// Only keys that begin so.
    #[arg(long, value_name = "TEXT", default_value = "")]
    prefix: String,
    /// The most keys.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    max: usize,
}

#[derive(Args)]
pub(super) struct ImportArgs {
    #[command(flatten)]
    of: StoreArgs,
    /// The file; `-` is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Most keys of one answer of the edge.
const PAGE: usize = 1000;

pub(super) fn kv(command: &KvCommand) -> ExitCode {
    let done = match command {
        KvCommand::Get(args) => get(args),
        KvCommand::Put(args) => put(args),
        KvCommand::Delete(args) => delete(args),
        KvCommand::List(args) => list(args),
        KvCommand::Import(args) => import(args),
        KvCommand::Export(args) => export(args),
    };
    match done.and_then(|words| show(&words)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(&why),
    }
}

// What a pipe does not take any more is no loss.
fn show(words: &str) -> Result<(), String> {
    match std::io::stdout().write_all(words.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.to_string()),
        _ => Ok(()),
    }
}

fn path_of(store: &str, rest: &str) -> Result<String, String> {
    if !is_name(store) {
        return Err(format!("{store:?} is no name of a key value store"));
    }
    Ok(format!("/v1/kv/{store}{rest}"))
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn pretty(value: &Value) -> String {
    format!("{}\n", serde_json::to_string_pretty(value).unwrap_or_default())
}

fn get(args: &KeyArgs) -> Result<String, String> {
    let path = path_of(&args.of.store, &format!("/keys/{}", encoded(&args.key)))?;
    let answer = Asker::new(&args.of.door)?.ask("GET", &path, String::new())?;
    if args.of.json {
        return Ok(pretty(&answer));
    }
    Ok(format!("{}\n", answer["value"].as_str().unwrap_or("")))
}

fn put(args: &PutArgs) -> Result<String, String> {
    let KeyArgs { of, key } = &args.of;
    let value = if args.value == "-" {
        let text = read(Path::new("-"))?;
        text.strip_suffix('\n').unwrap_or(&text).to_string()
    } else {
        args.value.clone()
    };
    let path = path_of(&of.store, &format!("/keys/{}", encoded(key)))?;
    let body = json!({ "value": value }).to_string();
    let answer = Asker::new(&of.door)?.ask("PUT", &path, body)?;
    Ok(changed(of, &answer))
}

fn delete(args: &DeleteArgs) -> Result<String, String> {
    let path = path_of(&args.of.store, "/keys")?;
    let body = json!({ "deletes": args.keys }).to_string();
    let answer = Asker::new(&args.of.door)?.ask("POST", &path, body)?;
    Ok(changed(&args.of, &answer))
}

fn import(args: &ImportArgs) -> Result<String, String> {
    let text = read(&args.file)?;
    let path = path_of(&args.of.store, "/import")?;
    let answer = Asker::new(&args.of.door)?.ask("POST", &path, text)?;
    Ok(changed(&args.of, &answer))
}

fn export(args: &StoreArgs) -> Result<String, String> {
    let path = path_of(&args.store, "/export")?;
    let answer = Asker::new(&args.door)?.ask("GET", &path, String::new())?;
    Ok(pretty(&answer))
}

// A file, or standard input for `-`.
fn read(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    if path != Path::new("-") {
        return std::fs::read_to_string(path).map_err(failed);
    }
    let input = std::io::stdin();
    if input.is_terminal() {
        return Err("standard input is a terminal; pipe something into it".into());
    }
    let mut text = String::new();
    input.take(FILE_MAX as u64 + 1).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

// What a store is after a change.
fn changed(of: &StoreArgs, answer: &Value) -> String {
    if of.json { pretty(answer) } else { line_of(answer) }
}

fn line_of(store: &Value) -> String {
    let text = |name: &str| store[name].as_str().unwrap_or("");
    let number = |name: &str| store[name].as_u64().unwrap_or(0);
    let source = store["file"].as_str().map_or_else(String::new, |file| format!("  from {file}"));
    let problem = store["problem"].as_str().map_or_else(String::new, |why| format!("  ! {why}"));
    let keys = number("keys");
    let word = if keys == 1 { "key" } else { "keys" };
    format!(
        "{}  {keys} {word}, {} octets  {}{source}{problem}\n",
        text("name"),
        number("octets"),
        text("id")
    )
}

fn list(args: &ListArgs) -> Result<String, String> {
    let asker = Asker::new(&args.door)?;
    let Some(store) = &args.store else {
        let answer = asker.ask("GET", "/v1/kv", String::new())?;
        if args.json {
            return Ok(pretty(&answer));
        }
        return Ok(answer["stores"].as_array().into_iter().flatten().map(line_of).collect());
    };
    let mut all: Vec<Value> = Vec::new();
    let mut after = String::new();
    while all.len() < args.max {
        let max = PAGE.min(args.max - all.len());
        let mut query = format!("/keys?max={max}&prefix={}", encoded(&args.prefix));
        if !all.is_empty() {
            query += &format!("&after={}", encoded(&after));
        }
        let mut answer = asker.ask("GET", &path_of(store, &query)?, String::new())?;
        if let Some(keys) = answer["keys"].as_array_mut() {
            all.append(keys);
        }
        match answer["next"].as_str() {
            Some(next) => after = next.to_string(),
            None => break,
        }
    }
    if args.json {
        return Ok(pretty(&json!({ "keys": all })));
    }
    let line = |pair: &Value| {
        let text = |name: &str| pair[name].as_str().unwrap_or("");
        // One line each, whatever is in them.
        format!("{}  {}\n", printable(text("key")), printable(text("value")))
    };
    Ok(all.iter().map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_a_line() {
        let store = json!({ "name": "flags", "keys": 1, "octets": 7, "id": "0b5f", "file": null, "problem": null });
        assert_eq!(line_of(&store), "flags  1 key, 7 octets  0b5f\n");
        let store = json!({ "name": "flags", "keys": 2, "octets": 7, "id": "0b5f", "file": "flags.json", "problem": "gone" });
        assert_eq!(line_of(&store), "flags  2 keys, 7 octets  0b5f  from flags.json  ! gone\n");
        assert!(path_of("../status", "").is_err() && path_of("flags", "/keys").is_ok());
        assert_eq!(encoded("/a b%é"), "%2Fa%20b%25%C3%A9");
    }
}

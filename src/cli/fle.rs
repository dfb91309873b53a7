//! `foreshore fle decrypt`: opens a field that field-level encryption has sealed, ours or
//! CloudFront's, for trying it out.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};

use super::fail;
use crate::config::decode;
use crate::crypto::envelope::{Opened, UnwrappingKey, decrypt};
use crate::semantics::form;

/// Most octets of a field in base64 that are read: 16 KB of text, and its message.
const FIELD_MAX: u64 = 1 << 20;

#[derive(Subcommand)]
pub(super) enum FleCommand {
    /// Print what a field says; it is read from standard input, in base64 as an origin got it.
    Decrypt(DecryptArgs),
}

#[derive(Args)]
pub(super) struct DecryptArgs {
    /// The private key, a PEM file.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

pub(super) fn run(command: &FleCommand) -> ExitCode {
    let FleCommand::Decrypt(args) = command;
    match opened(args) {
        Ok(opened) => {
            eprintln!("provider {:?}, key {:?}", opened.provider, opened.key_name);
            println!("{}", String::from_utf8_lossy(&opened.text));
            ExitCode::SUCCESS
        }
        Err(why) => fail(&why),
    }
}

fn opened(args: &DecryptArgs) -> Result<Opened, String> {
    let named = |why: String| format!("{}: {why}", args.key.display());
    let der = decode::private_key(&args.key).map_err(named)?;
    let key = UnwrappingKey::from_der(der.secret_der()).map_err(named)?;
    let mut text = String::new();
    std::io::stdin()
        .take(FIELD_MAX)
        .read_to_string(&mut text)
        .map_err(|error| format!("standard input: {error}"))?;
    let text = text.trim();
    // As it stands in a form, or as a reader of the form has it.
    let plain = match text.contains('%') {
        true => form::decode(text.as_bytes()).ok_or("this is no value of a form")?.into_owned(),
        false => text.as_bytes().to_vec(),
    };
    let message = STANDARD.decode(plain).map_err(|error| format!("this is no base64: {error}"))?;
    decrypt(&key, &message)
        .ok_or_else(|| "this is no message for this key, or it was changed".to_string())
}

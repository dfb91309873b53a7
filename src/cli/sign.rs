//! `foreshore sign url|cookies`: signatures that Foreshore and CloudFront take, made on your own
//! machine.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::fail;
use crate::base::network::Network;
use crate::clock::Clock;
use crate::config::decode;
use crate::config::reader::parse_duration;
use crate::crypto::key::PrivateKey;
use crate::crypto::policy::PolicyConditions;
use crate::crypto::url::{ToSign, sign};

#[derive(Subcommand)]
pub(super) enum SignCommand {
    /// Print a URL with its signature.
    Url(SignArgs),
    /// Print Set-Cookie fields that give access to a URL, or to all that a resource covers.
    Cookies(SignArgs),
}

#[derive(Args)]
pub(super) struct SignArgs {
    /// The URL, as a viewer will ask for it: escapes as they are sent.
    url: String,
    /// The id that the configuration has for the public key.
    #[arg(long, value_name = "ID")]
    key_id: String,
    /// The private key, a PEM file: RSA, or ECDSA P-256.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// How long it is good, from now on.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = |text: &str| parse_duration(text), conflicts_with = "until")]
    expires_in: std::time::Duration,
    /// Until when it is good, in seconds since the epoch.
    #[arg(long, value_name = "SECONDS")]
    until: Option<u64>,
    /// From when on, in seconds since the epoch. Makes the policy a custom one.
    #[arg(long, value_name = "SECONDS")]
    since: Option<u64>,
    /// From which addresses, one IPv4 network. Makes the policy a custom one.
    #[arg(long, value_name = "NETWORK", value_parser = network)]
    ip: Option<Network>,
    /// What it gives access to, with `*` and `?`, in the place of the URL. Makes the policy a
    /// custom one.
    #[arg(long, value_name = "PATTERN")]
    resource: Option<String>,
}

fn network(text: &str) -> Result<Network, String> {
    Network::parse(text)
        .filter(|_| !text.contains(':'))
        .ok_or_else(|| "one IPv4 address or network, such as 192.0.2.0/24".into())
}

pub(super) fn run(command: &SignCommand) -> ExitCode {
    let made = match command {
        SignCommand::Url(args) => url(args),
        SignCommand::Cookies(args) => cookies(args),
    };
    match made {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(why) => fail(&why),
    }
}

// What is signed is compared with what viewers send, octet by octet: what none of them sends would
// open nothing.
fn as_sent(text: &str) -> Result<(), String> {
    if text.contains('#') {
        return Err(format!("{text}: viewers send nothing of what begins with `#`: leave it out"));
    }
    match text.chars().find(|letter| !letter.is_ascii_graphic()) {
        None => Ok(()),
        Some(letter) => {
            let sent: String =
                letter.to_string().bytes().map(|octet| format!("%{octet:02X}")).collect();
            Err(format!("{text}: viewers send {letter:?} as {sent}: write it like that"))
        }
    }
}

fn is_url(url: &str) -> Result<(), String> {
    if url.starts_with("https://") || url.starts_with("http://") {
        return as_sent(url);
    }
    Err(format!("{url}: a URL begins with https:// or http://, as the viewer's does"))
}

fn shown(args: &SignArgs) -> Result<Vec<(&'static str, String)>, String> {
    is_url(&args.url)?;
    args.resource.as_deref().map_or(Ok(()), as_sent)?;
    let pem =
        decode::read_pem(&args.key).map_err(|error| format!("{}: {error}", args.key.display()))?;
    let key = PrivateKey::from_pem(&pem).map_err(|why| format!("{}: {why}", args.key.display()))?;
    let before = args.until.unwrap_or_else(|| Clock::system().now().plus(args.expires_in).secs());
    let terms = PolicyConditions { before, after: args.since, from: args.ip };
    sign(&ToSign { url: &args.url, terms, resource: args.resource.as_deref() }, &args.key_id, &key)
}

fn url(args: &SignArgs) -> Result<String, String> {
    let mark = if args.url.contains('?') { '&' } else { '?' };
    let pairs: Vec<String> =
        shown(args)?.iter().map(|(name, value)| format!("{name}={value}")).collect();
    Ok(format!("{}{mark}{}", args.url, pairs.join("&")))
}

fn cookies(args: &SignArgs) -> Result<String, String> {
    let is_canned = args.resource.is_none() && args.since.is_none() && args.ip.is_none();
    if is_canned && args.url.contains('*') {
        // For one URL alone, in which the star is a star.
        return Err(format!(
            "{0}: without --resource these would be for that one URL: add --resource '{0}' for all \
             that `*` covers",
            args.url
        ));
    }
    let secure = if args.url.starts_with("https:") { "; Secure" } else { "" };
    let line = |(name, value): &(&str, String)| {
        format!("Set-Cookie: CloudFront-{name}={value}; Path=/{secure}; HttpOnly")
    };
    Ok(shown(args)?.iter().map(line).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_viewer_sends_is_not_signed() {
        for good in ["https://h.test/a?x=%20", "http://h.test:8080/it's(1)*!~+$&,;=:@", "https://h"]
        {
            assert_eq!(is_url(good), Ok(()), "{good}");
        }
        for (bad, remedy) in [
            ("https://h.test/a b", "' ' as %20"),
            ("https://h.test/caf\u{e9}", "'\u{e9}' as %C3%A9"),
            ("https://h.test/a#top", "begins with `#`"),
            ("h.test/a", "begins with https:// or http://"),
            ("*", "begins with https:// or http://"),
        ] {
            let why = is_url(bad).unwrap_err();
            assert!(why.contains(remedy), "{why}");
        }
        // A pattern needs no scheme.
        assert_eq!(as_sent("http*://*.h.test/a/?"), Ok(()));
    }
}

//! `foreshore check`: every mistake at once.

use std::io::IsTerminal;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::ExitCode;

use super::ConfigArgs;
use crate::clock::Clock;
use crate::config::{self, MissingCertificates};
use crate::distribution::site::Site;

/// A server may send a viewer three times what it has heard until the address is proved (RFC 9000
/// §8.1): certificates beyond this cost a handshake over HTTP/3 another round trip.
const CHAIN: usize = 4 * 1024;

pub(super) fn check(args: &ConfigArgs) -> ExitCode {
    match config::load(&args.config, Clock::system().now(), MissingCertificates::Pending) {
        Err(report) => {
            eprint!("{}", report.render(std::io::stderr().is_terminal()));
            ExitCode::FAILURE
        }
        Ok(loaded) => {
            let site = loaded.site;
            let count =
                |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
            println!(
                "{} is fine: {}, {}, {}",
                args.config.display(),
                count(site.distributions.len(), "distribution"),
                count(site.behaviors, "behavior"),
                count(site.certificates.len(), "certificate")
            );
            for warning in &site.warnings {
                println!("warning: {warning}");
            }
            for trouble in udp_troubles(&site) {
                println!("warning: {trouble}");
            }
            for remark in &site.remarks {
                println!("note: {remark}");
            }
            for remark in long_chains(&site) {
                println!("note: {remark}");
            }
            ExitCode::SUCCESS
        }
    }
}

// HTTP/3 wants the addresses of HTTPS over UDP, too. Where TCP cannot have them either, an edge
// runs already, or they are another machine's.
fn udp_troubles(site: &Site) -> Vec<String> {
    let trouble = |address: &SocketAddr| {
        let error = UdpSocket::bind(address).err()?;
        TcpListener::bind(address).ok()?;
        Some(format!("listen.http3, UDP {address}: {error}; an edge would not start here"))
    };
    let wanted = site.listen.https.iter().filter(|_| site.listen.http3.is_on());
    wanted.filter_map(trouble).collect()
}

fn long_chains(site: &Site) -> Vec<String> {
    let note = |source: &str, chain: &[Vec<u8>]| {
        let octets: usize = chain.iter().map(Vec::len).sum();
        (octets > CHAIN).then(|| {
            format!(
                "{source}: {octets} octets of certificates; handshakes over HTTP/3 take another round trip from about {CHAIN} on"
            )
        })
    };
    let wanted = site.certificates.iter().filter(|_| site.listen.http3.is_on());
    wanted.filter_map(|one| note(&one.source, &one.chain)).collect()
}

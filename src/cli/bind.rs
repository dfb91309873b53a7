//! What is listened on: handed over by a service manager, or bound here, before rights are given up.

use std::io;
#[cfg(feature = "http3")]
use std::net::UdpSocket;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use crate::control::server;
use crate::distribution::site::Site;
use crate::listen::accept::{Bound, Speaks};
#[cfg(feature = "http3")]
use crate::listen::quic;
use crate::supervisor::handover::{self, By, Handed, Role};
use crate::supervisor::passing::{Socket, UsedFor};

/// All sockets that are listened on.
pub(super) struct Sockets {
    pub viewers: Vec<Bound>,
    #[cfg(feature = "http3")]
    pub udp: Vec<quic::Bound>,
    /// Another process still serves its connections over those.
    #[cfg(feature = "http3")]
    pub udp_is_in_use: bool,
    pub admin: std::net::TcpListener,
    pub admin_address: SocketAddr,
}

impl Sockets {
    /// Takes what was handed over and binds the rest.
    pub(super) fn open(site: &Site) -> Result<Self, String> {
        let handed = handover::take(&site.listen)?;
        #[cfg(feature = "http3")]
        let is_named = handed.iter().any(|one| one.role == Role::Https && one.by == By::Name);
        let viewers = viewers(site, handed)?;
        #[cfg(feature = "http3")]
        let udp = bind_udp(site, &viewers, is_named)?;
        let admin = bind_admin(site)?;
        let admin_address = admin.local_addr().map_err(|error| error.to_string())?;
        Ok(Self {
            viewers,
            #[cfg(feature = "http3")]
            udp,
            #[cfg(feature = "http3")]
            udp_is_in_use: false,
            admin,
            admin_address,
        })
    }

    /// Takes what the process has whose place this one takes, as far as it is still wanted, and
    /// binds the rest.
    pub(super) fn take_over(site: &Site, handed: Vec<(Socket, OwnedFd)>) -> Result<Self, String> {
        let failed = |error: io::Error| format!("a socket of the process before: {error}");
        let mut groups: Vec<(Socket, Vec<OwnedFd>)> = Vec::new();
        for (socket, descriptor) in handed {
            match groups.iter_mut().find(|(known, _)| *known == socket) {
                Some((_, all)) => all.push(descriptor),
                None => groups.push((socket, vec![descriptor])),
            }
        }
        let mut viewers = Vec::new();
        let mut admin = None;
        #[cfg(feature = "http3")]
        let (mut udp, is_on) = (Vec::new(), site.listen.http3.is_on());
        for (Socket { used_for, wanted }, all) in groups {
            match used_for {
                UsedFor::Http | UsedFor::Https if is_wanted(site, used_for, wanted) => {
                    let speaks = speaks(used_for);
                    let all = all.into_iter().map(TcpListener::from).collect();
                    let workers = site.listen.workers;
                    viewers
                        .extend(Bound::taken_over(all, speaks, wanted, workers).map_err(failed)?);
                }
                UsedFor::Admin if wanted == Some(site.admin.listen) => {
                    admin = all.into_iter().next().map(TcpListener::from);
                }
                #[cfg(feature = "http3")]
                UsedFor::Quic if is_on && all.len() == site.listen.workers => {
                    let all = all.into_iter().map(UdpSocket::from).collect();
                    udp.extend(quic::Bound::taken_over(all).map_err(failed)?);
                }
                // Closed here, and by the other once it is gone.
                _ => {}
            }
        }
        bind_missing(site, &mut viewers)?;
        #[cfg(feature = "http3")]
        let udp_is_in_use = !udp.is_empty();
        #[cfg(feature = "http3")]
        if !udp_is_in_use {
            udp = bind_udp(site, &viewers, false)?;
        }
        let admin = match admin {
            Some(admin) => admin,
            None => bind_admin(site)?,
        };
        let admin_address = admin.local_addr().map_err(failed)?;
        Ok(Self {
            viewers,
            #[cfg(feature = "http3")]
            udp,
            #[cfg(feature = "http3")]
            udp_is_in_use,
            admin,
            admin_address,
        })
    }

    /// All of them once more, for a process that is to take this one's place.
    pub(super) fn copies(&self, site: &Site) -> io::Result<Vec<(Socket, OwnedFd)>> {
        let mut all: Vec<(Socket, OwnedFd)> = Vec::new();
        for bound in &self.viewers {
            let used_for =
                if bound.speaks == Speaks::Https { UsedFor::Https } else { UsedFor::Http };
            let socket = Socket { used_for, wanted: bound.wanted };
            all.extend(bound.copies()?.into_iter().map(|one| (socket, one.into())));
        }
        let admin = Socket { used_for: UsedFor::Admin, wanted: Some(site.admin.listen) };
        all.push((admin, self.admin.try_clone()?.into()));
        #[cfg(feature = "http3")]
        for bound in &self.udp {
            let socket = Socket { used_for: UsedFor::Quic, wanted: Some(bound.address) };
            all.extend(bound.copies()?.into_iter().map(|one| (socket, one.into())));
        }
        Ok(all)
    }
}

fn bind_admin(site: &Site) -> Result<TcpListener, String> {
    server::bind(site.admin.listen)
        .map_err(|error| format!("admin.listen {}: {error}", site.admin.listen))
}

fn speaks(used_for: UsedFor) -> Speaks {
    if used_for == UsedFor::Https { Speaks::Https } else { Speaks::Http }
}

// Says whether a socket of the process before is in this configuration.
fn is_wanted(site: &Site, used_for: UsedFor, wanted: Option<SocketAddr>) -> bool {
    let addresses = if used_for == UsedFor::Https { &site.listen.https } else { &site.listen.http };
    let is_listed = wanted.is_none_or(|address| addresses.contains(&address));
    is_listed && (used_for == UsedFor::Http || !site.certificates.is_empty())
}

// Binds the addresses of the configuration that no socket stands for yet.
fn bind_missing(site: &Site, all: &mut Vec<Bound>) -> Result<(), String> {
    let lists = [
        (&site.listen.http, Speaks::Http, "listen.http"),
        (&site.listen.https, Speaks::Https, "listen.https"),
    ];
    for (addresses, speaks, key) in lists {
        for address in addresses {
            let stands_for = |one: &Bound| {
                one.speaks == speaks && one.wanted.is_none_or(|wanted| wanted == *address)
            };
            if !all.iter().any(stands_for) {
                let bound = Bound::bind(*address, speaks, site.listen.workers);
                all.push(bound.map_err(|error| format!("{key} {address}: {error}"))?);
            }
        }
    }
    Ok(())
}

fn viewers(site: &Site, handed: Vec<Handed>) -> Result<Vec<Bound>, String> {
    let workers = site.listen.workers;
    let http = handover::left(&site.listen.http, Role::Http, &handed);
    let https = handover::left(&site.listen.https, Role::Https, &handed);
    let mut all = Vec::new();
    for one in handed {
        let speaks = match one.role {
            Role::Http => Speaks::Http,
            Role::Https => Speaks::Https,
        };
        if speaks == Speaks::Https && site.certificates.is_empty() {
            return Err(format!(
                "the service manager hands over {} for HTTPS, and there is no [[certificate]]",
                one.address
            ));
        }
        let wanted = (one.by == By::Address).then_some(one.address);
        all.push(Bound::handed(one.listener, speaks, wanted, workers).map_err(|error| {
            format!("{} as the service manager hands it over: {error}", one.address)
        })?);
    }
    let http = http.into_iter().map(|address| (address, Speaks::Http, "listen.http"));
    let https = https.into_iter().map(|address| (address, Speaks::Https, "listen.https"));
    for (address, speaks, key) in http.chain(https) {
        all.push(
            Bound::bind(address, speaks, workers)
                .map_err(|error| format!("{key} {address}: {error}"))?,
        );
    }
    Ok(all)
}

// The addresses for HTTPS once more, for UDP. HTTP/3 that is asked for and cannot be had would
// never be missed: viewers stay with HTTP/2 and say nothing. Where a socket was handed over by name,
// its address may be one of both families, which ours are not: then those of the configuration count.
#[cfg(feature = "http3")]
fn bind_udp(site: &Site, bound: &[Bound], is_named: bool) -> Result<Vec<quic::Bound>, String> {
    if !site.listen.http3.is_on() {
        return Ok(Vec::new());
    }
    let https = bound.iter().filter(|one| one.speaks == Speaks::Https);
    let mut wanted: Vec<SocketAddr> =
        if is_named { site.listen.https.clone() } else { https.map(|one| one.address).collect() };
    // An address may have more queues than workers.
    wanted.dedup();
    let bind = |address: SocketAddr| {
        quic::Bound::bind(address, site.listen.workers)
            .map_err(|error| format!("listen.http3, UDP {address}: {error}"))
    };
    wanted.into_iter().map(bind).collect()
}

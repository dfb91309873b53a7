//! Listening sockets that a service manager has bound and hands over (socket activation): they go on
//! listening while this process is replaced.

use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;

use crate::distribution::site::Listen;

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Http,
    Https,
}

/// How it is known what a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// By its name: then it stands for all addresses of its role.
    Name,
    /// By its address, which the configuration has, too.
    Address,
}

/// A socket that was handed over.
pub struct Handed {
    pub listener: TcpListener,
    pub address: SocketAddr,
    pub role: Role,
    pub by: By,
}

/// Takes what was handed over, all of it, so that no child inherits any.
///
/// # Errors
///
/// If a socket is no TCP listener, or it is not known what it is for.
pub fn take(listen: &Listen) -> Result<Vec<Handed>, String> {
    // Read first: taking the sockets takes the variables away.
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let names: Vec<&str> = names.split(':').collect();
    let mut handed = ListenFd::from_env();
    let mut all = Vec::new();
    for at in 0..handed.len() {
        let name = names.get(at).copied().unwrap_or("");
        let failed = |error: std::io::Error| {
            format!(
                "socket {at} ({name:?}) that the service manager hands over: {error}; \
                 hand over TCP sockets alone, HTTP/3 binds its own"
            )
        };
        let Some(listener) = handed.take_tcp_listener(at).map_err(failed)? else { continue };
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (role, by) = role_of(name, address, listen)?;
        all.push(Handed { listener, address, role, by });
    }
    Ok(all)
}

// A name says it; where it is another, as the unit's own is, the address has to be a known one.
fn role_of(name: &str, address: SocketAddr, listen: &Listen) -> Result<(Role, By), String> {
    match name {
        "http" => return Ok((Role::Http, By::Name)),
        "https" => return Ok((Role::Https, By::Name)),
        _ => {}
    }
    if listen.http.contains(&address) {
        return Ok((Role::Http, By::Address));
    }
    if listen.https.contains(&address) {
        return Ok((Role::Https, By::Address));
    }
    Err(format!(
        "the service manager hands over a socket {name:?} at {address}, which is neither in listen.http nor in listen.https; \
         name it with FileDescriptorName=http or https"
    ))
}

/// The addresses of a role that are left to be bound.
pub fn left(wanted: &[SocketAddr], role: Role, handed: &[Handed]) -> Vec<SocketAddr> {
    let stands_for = |one: &Handed, address: SocketAddr| {
        one.role == role && (one.by == By::Name || one.address == address)
    };
    wanted
        .iter()
        .copied()
        .filter(|address| !handed.iter().any(|one| stands_for(one, *address)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::site::{Http3, UnknownSni};

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn listen() -> Listen {
        Listen {
            http: vec![at("127.0.0.1:80"), at("[::1]:80")],
            https: vec![at("127.0.0.1:443")],
            proxy_protocol_from: vec![],
            forwarded_for_from: vec![],
            workers: 1,
            http3: Http3::Off,
            client_roots: vec![],
            unknown_sni: UnknownSni::Default,
        }
    }

    fn handed(address: &str, role: Role, by: By) -> Handed {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Handed { listener, address: at(address), role, by }
    }

    #[test]
    fn a_socket_is_known_by_its_name_or_its_address() {
        let listen = listen();
        let role = |name: &str, address: &str| role_of(name, at(address), &listen);
        assert_eq!(role("https", "[::]:8443"), Ok((Role::Https, By::Name)));
        assert_eq!(role("http", "127.0.0.1:443"), Ok((Role::Http, By::Name)));
        assert_eq!(role("foreshore.socket", "127.0.0.1:443"), Ok((Role::Https, By::Address)));
        assert_eq!(role("", "[::1]:80"), Ok((Role::Http, By::Address)));
        let why = role("foreshore.socket", "127.0.0.1:81").unwrap_err();
        assert!(why.contains("127.0.0.1:81") && why.contains("FileDescriptorName"), "{why}");
    }

    #[test]
    fn what_was_handed_over_is_not_bound_again() {
        let (http, https) = (listen().http, listen().https);
        assert_eq!(left(&http, Role::Http, &[]), http);
        let one = [handed("127.0.0.1:80", Role::Http, By::Address)];
        assert_eq!(left(&http, Role::Http, &one), [at("[::1]:80")]);
        assert_eq!(left(&https, Role::Https, &one), https);
        let named = [handed("[::]:8080", Role::Http, By::Name)];
        assert!(left(&http, Role::Http, &named).is_empty());
        assert_eq!(left(&https, Role::Https, &named), https);
    }
}

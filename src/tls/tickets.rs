//! TLS session tickets under keys that rotate and survive a restart.
//!
//! One set of keys for all certificates and cores; rustls itself refuses a ticket under another
//! server name. A ticket is `key id, salt, nonce, AES-256-GCM(state)`. What seals it is derived
//! from the key, the salt and the rule about viewers' certificates: under another rule it opens
//! nothing, and each process has a salt of its own, so that edges that share a key do not use a
//! nonce twice. An edge makes itself a key every twelve hours; a fleet's come from its log.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::{digest, hkdf, rand};
use parking_lot::RwLock;
use rustls::server::ProducesTickets;

use super::ticket_keys::{
    Circle, ID_OCTETS, KeyId, KeyRefusal, KeyRing, KnownTo, SEALS, TICKET, Taken, TicketKey,
};
use crate::base::secret::Secret;
use crate::clock::Clock;
use crate::semantics::time::Timestamp;

const SALT_OCTETS: usize = 16;

/// A rule about the certificates of viewers, as far as tickets tell it from others: a session that
/// one rule let in is not resumed under another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientRule([u8; 32]);

impl ClientRule {
    /// Viewers are asked for no certificate.
    pub const NONE: Self = Self([0; 32]);

    /// By a digest of all that the rule says: the roots it believes, and whether a certificate is
    /// required.
    pub const fn of_digest(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

/// What seals the tickets of one key, salt and rule.
struct Sealer {
    id: KeyId,
    salt: [u8; SALT_OCTETS],
    key: RandomizedNonceKey,
}

impl Sealer {
    fn fresh(key: &TicketKey, rule: ClientRule) -> Option<Self> {
        let mut salt = [0; SALT_OCTETS];
        rand::fill(&mut salt).ok()?;
        Some(Self { id: key.id, salt, key: derived(key, &salt, rule)? })
    }
}

fn derived(
    key: &TicketKey,
    salt: &[u8; SALT_OCTETS],
    rule: ClientRule,
) -> Option<RandomizedNonceKey> {
    let base = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(key.secret.expose());
    let told = [&b"foreshore ticket 2"[..], &rule.0[..]];
    let mut derived = [0; 32];
    base.expand(&told, hkdf::HKDF_SHA256).ok()?.fill(&mut derived).ok()?;
    RandomizedNonceKey::new(&AES_256_GCM, &derived).ok()
}

/// The keys of this edge, and those of its fleet where it shares some.
pub struct Tickets {
    ring: RwLock<KeyRing>,
    file: PathBuf,
    circle: Circle,
    clock: Clock,
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tickets(secret)")
    }
}

impl Tickets {
    /// Takes the keys of the last run from `folder`, or makes new ones. `fleet` is the name of the
    /// fleet that shares its keys with this edge; the keys of any other are left out.
    pub fn open(folder: &Path, clock: Clock, fleet: Option<&str>) -> Arc<Self> {
        let file = folder.join("ticket-keys");
        let circle = circle(fleet);
        let bytes = std::fs::read(&file).unwrap_or_default();
        let ring = RwLock::new(KeyRing::read(&bytes, circle));
        let tickets = Arc::new(Self { ring, file, circle, clock });
        tickets.rotate();
        tickets
    }

    /// Lets go of keys that have had their time, and makes a new one of this edge's own if the
    /// newest is old enough. Called now and then.
    pub fn rotate(&self) {
        let now = self.clock.now();
        let mut ring = self.ring.write();
        ring.forget(now);
        if !ring.wants(KnownTo::ThisEdge, now) {
            return;
        }
        let Some(fresh) = fresh_key(now) else { return };
        if ring.take(fresh, KnownTo::ThisEdge, now).is_ok() {
            self.save(&ring);
        }
    }

    /// Whether no key of the fleet is young any more.
    pub fn is_fleet_key_due(&self) -> bool {
        self.ring.read().wants(KnownTo::Fleet, self.clock.now())
    }

    /// A new key for the fleet, which is not in use before it is taken; `None` without randomness.
    pub fn fresh_fleet_key(&self) -> Option<TicketKey> {
        fresh_key(self.clock.now())
    }

    /// Takes a key of the fleet: it opens tickets at once, and seals them once the other edges had
    /// the time to take it.
    pub fn take(&self, key: TicketKey) -> Result<Taken, KeyRefusal> {
        let mut ring = self.ring.write();
        let taken = ring.take(key, KnownTo::Fleet, self.clock.now())?;
        if taken == Taken::New {
            self.save(&ring);
        }
        Ok(taken)
    }

    /// Keys of the fleet that are held.
    pub fn fleet_keys(&self) -> usize {
        self.ring.read().count(KnownTo::Fleet)
    }

    /// What seals and opens the tickets of viewers whom a rule let in.
    pub fn under(self: &Arc<Self>, rule: ClientRule) -> Arc<dyn ProducesTickets> {
        Arc::new(Ruled { tickets: Arc::clone(self), rule, sealer: RwLock::default() })
    }

    fn save(&self, ring: &KeyRing) {
        if let Err(error) = self.write(&ring.write(self.circle)) {
            tracing::warn!(%error, "ticket keys could not be saved; sessions will not be resumed after a restart");
        }
    }

    fn write(&self, bytes: &[u8]) -> std::io::Result<()> {
        let fresh = self.file.with_extension("new");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(bytes)?;
        std::fs::rename(&fresh, &self.file)
    }
}

fn circle(fleet: Option<&str>) -> Circle {
    let mut circle = Circle([0; 32]);
    if let Some(fleet) = fleet {
        circle.0.copy_from_slice(digest::digest(&digest::SHA256, fleet.as_bytes()).as_ref());
    }
    circle
}

fn fresh_key(now: Timestamp) -> Option<TicketKey> {
    let (mut id, mut secret) = ([0; ID_OCTETS], [0; 32]);
    rand::fill(&mut id).ok()?;
    rand::fill(&mut secret).ok()?;
    // As it is written down, so that it is the same for all.
    let made_at = Timestamp::from_secs(now.secs());
    Some(TicketKey { id: KeyId(id), made_at, seals: SEALS, secret: Secret::new(secret) })
}

/// Tickets under one rule.
struct Ruled {
    tickets: Arc<Tickets>,
    rule: ClientRule,
    /// Of the key that seals now, once it has.
    sealer: RwLock<Option<Arc<Sealer>>>,
}

impl std::fmt::Debug for Ruled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tickets(secret)")
    }
}

impl Ruled {
    fn sealer(&self) -> Option<Arc<Sealer>> {
        let now = self.tickets.clock.now();
        let key = self.tickets.ring.read().sealing(now).cloned()?;
        let known = self.sealer.read().clone().filter(|known| known.id == key.id);
        if known.is_some() {
            return known;
        }
        let fresh = Arc::new(Sealer::fresh(&key, self.rule)?);
        *self.sealer.write() = Some(Arc::clone(&fresh));
        Some(fresh)
    }
}

impl ProducesTickets for Ruled {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(TICKET.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let sealer = self.sealer()?;
        let mut sealed = plain.to_vec();
        let nonce =
            sealer.key.seal_in_place_append_tag(Aad::from(sealer.id.0), &mut sealed).ok()?;
        Some([&sealer.id.0[..], &sealer.salt[..], nonce.as_ref(), &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (id, rest) = ticket.split_first_chunk::<ID_OCTETS>()?;
        let (salt, rest) = rest.split_first_chunk::<SALT_OCTETS>()?;
        let (nonce, sealed) = rest.split_first_chunk::<12>()?;
        let now = self.tickets.clock.now();
        let key = self.tickets.ring.read().opening(KeyId(*id), now).cloned()?;
        let opener = derived(&key, salt, self.rule)?;
        let mut opened = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let len = opener.open_in_place(nonce, Aad::from(*id), &mut opened).ok()?.len();
        opened.truncate(len);
        Some(opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use rustls::{
        ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig,
        ServerConnection, SupportedProtocolVersion,
    };
    use std::time::Duration;

    const FLEET: Option<&str> = Some("shop");

    fn clock() -> Clock {
        Clock::starting_at(Timestamp::from_secs(1_000_000_000))
    }

    // What came out as it went in.
    fn passes(from: &dyn ProducesTickets, to: &dyn ProducesTickets) -> bool {
        let ticket = from.encrypt(b"state").unwrap();
        to.decrypt(&ticket).as_deref() == Some(&b"state"[..])
    }

    // The same key for both, by way of what a log would carry.
    fn share(from: &Tickets, to: &[&Tickets]) {
        let key = from.fresh_fleet_key().unwrap();
        let mut written = Vec::new();
        key.write(&mut written);
        for one in to.iter().chain([&from]) {
            assert_eq!(one.take(TicketKey::read(&written).unwrap()), Ok(Taken::New));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn tickets_outlive_a_rotation_and_a_restart_but_not_two_rotations() {
        let folder = tempfile::tempdir().unwrap();
        let clock = clock();
        let tickets = Tickets::open(folder.path(), clock.clone(), None);
        let ruled = tickets.under(ClientRule::NONE);
        let ticket = ruled.encrypt(b"state").unwrap();
        assert_eq!(ruled.decrypt(&ticket).as_deref(), Some(&b"state"[..]));
        tokio::time::advance(SEALS + Duration::from_secs(1)).await;
        tickets.rotate();
        assert_ne!(ruled.encrypt(b"state").unwrap()[..ID_OCTETS], ticket[..ID_OCTETS]);
        let again = Tickets::open(folder.path(), clock, None);
        let ruled = again.under(ClientRule::NONE);
        assert_eq!(ruled.decrypt(&ticket).as_deref(), Some(&b"state"[..]));
        tokio::time::advance(SEALS).await;
        again.rotate();
        assert_eq!(ruled.decrypt(&ticket), None);
        for cut in 0..ticket.len() {
            assert_eq!(ruled.decrypt(&ticket[..cut]), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn tickets_do_not_go_from_one_rule_to_another() {
        let folder = tempfile::tempdir().unwrap();
        let tickets = Tickets::open(folder.path(), clock(), None);
        let rules =
            [ClientRule::NONE, ClientRule::of_digest([1; 32]), ClientRule::of_digest([2; 32])];
        for from in rules {
            for to in rules {
                let is_same = from == to;
                let (from, to) = (tickets.under(from), tickets.under(to));
                assert_eq!(passes(&*from, &*to), is_same);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn edges_of_a_fleet_open_each_others_tickets() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let clock = clock();
        let open = |at: usize, fleet| Tickets::open(folders[at].path(), clock.clone(), fleet);
        let (a, b) = (open(0, FLEET), open(1, FLEET));
        let (on_a, on_b) = (a.under(ClientRule::NONE), b.under(ClientRule::NONE));
        assert!(a.is_fleet_key_due() && !passes(&*on_a, &*on_b));
        share(&a, &[&b]);
        assert!(!a.is_fleet_key_due() && !b.is_fleet_key_due());
        // The others may not have it yet.
        assert!(!passes(&*on_a, &*on_b));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(passes(&*on_a, &*on_b) && passes(&*on_b, &*on_a));
        let first = on_a.encrypt(b"state").unwrap();
        // The next one after six hours; what the one before sealed still opens.
        tokio::time::advance(Duration::from_secs(6 * 3600)).await;
        assert!(b.is_fleet_key_due());
        share(&b, &[&a]);
        tokio::time::advance(Duration::from_secs(10)).await;
        let second = on_a.encrypt(b"state").unwrap();
        assert_ne!(first[..ID_OCTETS], second[..ID_OCTETS]);
        assert!(on_b.decrypt(&first).is_some() && on_b.decrypt(&second).is_some());
        // A restart has both, in the same fleet alone.
        let again = open(1, FLEET).under(ClientRule::NONE);
        assert!(again.decrypt(&first).is_some() && again.decrypt(&second).is_some());
        assert!(passes(&*again, &*on_a));
        for other in [None, Some("shops")] {
            let elsewhere = open(1, other).under(ClientRule::NONE);
            assert!(elsewhere.decrypt(&first).is_none() && !passes(&*elsewhere, &*on_a));
        }
        // Each has its time.
        tokio::time::advance(Duration::from_secs(18 * 3600)).await;
        assert!(on_b.decrypt(&first).is_none() && on_b.decrypt(&second).is_some());
        // No key came for so long that each seals for itself again.
        a.rotate();
        b.rotate();
        assert!(passes(&*on_a, &*on_a) && !passes(&*on_a, &*on_b));
    }

    #[tokio::test(start_paused = true)]
    async fn no_two_processes_seal_under_the_same_key() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [a, b] = [0, 1].map(|at| Tickets::open(folders[at].path(), clock(), FLEET));
        share(&a, &[&b]);
        tokio::time::advance(Duration::from_secs(10)).await;
        let salt = |of: &Arc<Tickets>| {
            of.under(ClientRule::NONE).encrypt(b"state").unwrap()[..ID_OCTETS + SALT_OCTETS]
                .to_vec()
        };
        assert_eq!(salt(&a)[..ID_OCTETS], salt(&b)[..ID_OCTETS]);
        assert_ne!(salt(&a), salt(&b));
    }

    fn server(
        tickets: &Arc<Tickets>,
        (chain, key): (&CertificateDer<'static>, &KeyPair),
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![chain.clone()], key)
            .unwrap();
        config.ticketer = tickets.under(ClientRule::NONE);
        Arc::new(config)
    }

    // Shakes hands, and says how.
    fn shake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> HandshakeKind {
        let name = ServerName::try_from("h.test").unwrap();
        let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
        let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
        for _ in 0..4 {
            let (mut there, mut back) = (Vec::new(), Vec::new());
            while client.wants_write() {
                client.write_tls(&mut there).unwrap();
            }
            let mut rest = &there[..];
            while !rest.is_empty() {
                server.read_tls(&mut rest).unwrap();
                server.process_new_packets().unwrap();
            }
            while server.wants_write() {
                server.write_tls(&mut back).unwrap();
            }
            let mut rest = &back[..];
            while !rest.is_empty() {
                client.read_tls(&mut rest).unwrap();
                client.process_new_packets().unwrap();
            }
        }
        assert!(!client.is_handshaking() && !server.is_handshaking());
        server.handshake_kind().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_viewer_resumes_on_another_edge_of_the_fleet() {
        let key = KeyPair::generate().unwrap();
        let chain =
            CertificateParams::new(vec!["h.test".to_string()]).unwrap().self_signed(&key).unwrap();
        let chain = chain.der().clone();
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [a, b] = [0, 1].map(|at| Tickets::open(folders[at].path(), clock(), FLEET));
        let apart = [a.fleet_keys(), b.fleet_keys()];
        assert_eq!(apart, [0, 0]);
        share(&a, &[&b]);
        for (versions, is_settled) in [
            (&[&rustls::version::TLS13][..], false),
            (&[&rustls::version::TLS13][..], true),
            (&[&rustls::version::TLS12][..], true),
        ] {
            if is_settled {
                tokio::time::advance(Duration::from_secs(10)).await;
            }
            let (on_a, on_b) =
                (server(&a, (&chain, &key), versions), server(&b, (&chain, &key), versions));
            let mut roots = RootCertStore::empty();
            roots.add(chain.clone()).unwrap();
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let viewer = ClientConfig::builder_with_provider(provider)
                .with_protocol_versions(versions)
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            let viewer = Arc::new(viewer);
            let is_resumed = |edge| shake(&viewer, edge) == HandshakeKind::Resumed;
            let kinds = [is_resumed(&on_a), is_resumed(&on_b), is_resumed(&on_a)];
            // With a key for each edge a ticket of the one is worth nothing on the other.
            assert_eq!(kinds, [false, is_settled, is_settled], "{is_settled}");
        }
    }
}

//! A certificate authority that speaks ACME (RFC 8555, RFC 9773) over HTTPS: as it should, or wrong
//! at one step. It checks every signature, looks for proofs itself, and knows what it was asked.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use foreshore::semantics::time::{Timestamp, format_rfc3339};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, SerialNumber, SignatureAlgorithm,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use super::ca_looks::{Looks, base64url, sha256};
use super::ca_wire::{
    Answer, Io, Refusal, Request, Wrong, document, misbehave, problem, read, refusal, unknown,
};

/// A running CA; it ends with its owner.
pub struct Ca {
    shared: Arc<Shared>,
    address: SocketAddr,
}

struct Shared {
    base: String,
    authority: CertifiedIssuer<'static, KeyPair>,
    tls: Arc<rustls::ServerConfig>,
    state: Mutex<State>,
    stop: AtomicBool,
}

#[derive(Default)]
struct State {
    wrong: Vec<(&'static str, Wrong)>,
    held: BTreeSet<&'static str>,
    /// How many good nonces are still to be refused.
    refuse_nonces: u32,
    nonces: BTreeSet<String>,
    /// What was given out so far: nonces, tokens and serial numbers are made of it.
    given: u64,
    accounts: Vec<Value>,
    orders: Vec<Order>,
    authorizations: Vec<Authorization>,
    asked: Vec<(String, Value)>,
    looks: Vec<Looks>,
    life: u64,
    window: Option<(i64, i64)>,
}

struct Order {
    names: Vec<String>,
    authorizations: Vec<usize>,
    chain: Option<String>,
}

#[derive(Clone)]
struct Authorization {
    name: String,
    is_wildcard: bool,
    token: String,
    jwk: Value,
    /// The challenge that was begun.
    begun: Option<String>,
    status: &'static str,
    why: String,
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl Ca {
    /// Starts one whose certificates hold for a day.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut of = CertificateParams::new(Vec::<String>::new()).unwrap();
        of.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        of.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        of.distinguished_name.push(DnType::CommonName, format!("a CA of tests, {address}"));
        let authority = CertifiedIssuer::self_signed(of, KeyPair::generate().unwrap()).unwrap();
        let own = KeyPair::generate().unwrap();
        let own_names = CertificateParams::new(vec!["127.0.0.1".to_string()]).unwrap();
        let chain = vec![own_names.signed_by(&own, &*authority).unwrap().der().clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let shared = Arc::new(Shared {
            base: format!("https://{address}"),
            authority,
            tls: Arc::new(tls),
            state: Mutex::new(State { life: 86_400, ..State::default() }),
            stop: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for tcp in listener.incoming() {
                if accepting.stop.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(tcp) = tcp else { continue };
                let serving = Arc::clone(&accepting);
                std::thread::spawn(move || serving.serve(tcp));
            }
        });
        Self { shared, address }
    }

    /// The URL of its directory.
    pub fn directory(&self) -> String {
        format!("{}/dir", self.shared.base)
    }

    /// Its own certificate, PEM.
    pub fn root(&self) -> String {
        self.shared.authority.pem()
    }

    /// Where it looks for proofs; every place has to show them. Until it is told it looks nowhere,
    /// and authorizations stay pending.
    pub fn looks_at(&self, looks: Vec<Looks>) {
        self.shared.state().looks = looks;
    }

    /// Does wrong at a step from now on: `dir`, `nonce`, `account`, `new-order`, `order`, `authz`,
    /// `challenge`, `finalize`, `certificate`, `renewal`.
    pub fn goes_wrong(&self, step: &'static str, wrong: Wrong) {
        self.shared.state().wrong.push((step, wrong));
    }

    /// Does right again.
    pub fn goes_right(&self) {
        self.shared.state().wrong.clear();
    }

    /// Leaves names unproved (`challenge`) or orders in processing (`finalize`) until it is let go.
    pub fn holds(&self, step: &'static str) {
        self.shared.state().held.insert(step);
    }

    /// Holds nothing any more.
    pub fn lets_go(&self) {
        self.shared.state().held.clear();
    }

    /// Has looked for all that was begun, and nothing was there.
    pub fn finds_nothing(&self) {
        let mut state = self.shared.state();
        for one in state.authorizations.iter_mut().filter(|one| one.begun.is_some()) {
            (one.status, one.why) = ("invalid", "nothing listens".into());
        }
    }

    /// Refuses so many good nonces.
    pub fn refuses_nonces(&self, count: u32) {
        self.shared.state().refuse_nonces = count;
    }

    /// Issues for so many seconds, and says from when to when (from now, in seconds) to renew.
    pub fn issues_for(&self, life: u64, window: Option<(i64, i64)>) {
        let mut state = self.shared.state();
        (state.life, state.window) = (life, window);
    }

    /// How often it was asked at a step.
    pub fn asked(&self, step: &str) -> usize {
        self.payloads(step).len()
    }

    /// What it was asked at a step, in order.
    pub fn payloads(&self, step: &str) -> Vec<Value> {
        let state = self.shared.state();
        let at = state.asked.iter().filter(|(asked, _)| asked == step);
        at.map(|(_, payload)| payload.clone()).collect()
    }
}

impl Drop for Ca {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn serve(&self, tcp: TcpStream) {
        let _ = tcp.set_nodelay(true);
        let _ = tcp.set_read_timeout(Some(Duration::from_secs(60)));
        let session = rustls::ServerConnection::new(Arc::clone(&self.tls)).unwrap();
        let mut io = rustls::StreamOwned::new(session, tcp);
        let Some(request) = read(&mut io) else { return };
        let step = self.step(&request);
        let wrong = {
            let state = self.state();
            state.wrong.iter().find(|(at, _)| *at == step).map(|(_, wrong)| wrong.clone())
        };
        match wrong {
            None | Some(Wrong::Invalid | Wrong::IssuesFor(_) | Wrong::IssuesOtherKey) => {
                let answer = self.answer(step, &request);
                self.say(&mut io, &answer, None);
            }
            Some(Wrong::Problem(status, kind, retry_after)) => {
                self.state().asked.push((step.to_string(), Value::Null));
                let answer = problem((status, kind, "as the script says".into()));
                self.say(&mut io, &answer, retry_after);
            }
            Some(wrong) => {
                self.state().asked.push((step.to_string(), Value::Null));
                let _ = misbehave(&mut io, &wrong, &format!("{}{}", self.base, request.path));
            }
        }
        io.conn.send_close_notify();
        let _ = io.flush();
    }

    // What a path is about.
    fn step(&self, request: &Request) -> &'static str {
        match request.path.split('/').nth(1) {
            Some("dir") => "dir",
            Some("nonce") => "nonce",
            Some("account") => "account",
            Some("new-order") => "new-order",
            Some("order") => "order",
            Some("authz") => "authz",
            Some("challenge") => "challenge",
            Some("finalize") => "finalize",
            Some("certificate") => "certificate",
            Some("renewal") => "renewal",
            _ => "nothing",
        }
    }

    fn say(&self, io: &mut Io, answer: &Answer, retry_after: Option<u64>) {
        let nonce = {
            let mut state = self.state();
            let nonce = state.next("nonce");
            state.nonces.insert(nonce.clone());
            nonce
        };
        let mut head = format!(
            "HTTP/1.1 {} Said\r\nContent-Type: {}\r\nReplay-Nonce: {nonce}\r\nConnection: close\r\nContent-Length: {}\r\n",
            answer.status,
            answer.kind,
            answer.body.len()
        );
        if let Some(location) = &answer.location {
            head += &format!("Location: {location}\r\n");
        }
        if let Some(seconds) = retry_after {
            head += &format!("Retry-After: {seconds}\r\n");
        }
        let _ = io.write_all(format!("{head}\r\n{}", answer.body).as_bytes());
    }

    fn answer(&self, step: &'static str, request: &Request) -> Answer {
        let done = match (step, &*request.method) {
            ("dir", "GET") => Ok(document(200, &self.directory())),
            ("nonce", "HEAD") => Ok(document(200, &Value::Null).without_body()),
            ("renewal", "GET") => self.renewal(),
            (_, "POST") => self.signed(step, request),
            _ => Err((405, "malformed", format!("{} is not for {step}", request.method))),
        };
        done.unwrap_or_else(problem)
    }

    fn directory(&self) -> Value {
        let base = &self.base;
        let mut directory = json!({
            "newNonce": format!("{base}/nonce"), "newAccount": format!("{base}/account"),
            "newOrder": format!("{base}/new-order"), "meta": { "termsOfService": format!("{base}/terms") },
        });
        if self.state().window.is_some() {
            directory["renewalInfo"] = json!(format!("{base}/renewal"));
        }
        directory
    }

    fn renewal(&self) -> Result<Answer, Refusal> {
        let mut state = self.state();
        state.asked.push(("renewal".into(), Value::Null));
        let (start, end) = state.window.ok_or_else(unknown)?;
        let at = |from_now: i64| {
            format_rfc3339(Timestamp::from_secs(seconds().saturating_add_signed(from_now)))
        };
        Ok(document(200, &json!({ "suggestedWindow": { "start": at(start), "end": at(end) } })))
    }

    // Everything that needs a signature.
    fn signed(&self, step: &'static str, request: &Request) -> Result<Answer, Refusal> {
        let mut numbers = request.path.split('/').skip(2);
        let number = numbers.next().and_then(|number| number.parse::<usize>().ok()).unwrap_or(0);
        let (jwk, payload) = self.opened(request)?;
        self.state().asked.push((step.to_string(), payload.clone()));
        match step {
            "account" => self.account(&jwk),
            "new-order" => self.new_order(&jwk, &payload),
            "order" => self.order(number, 200),
            "authz" => self.authorization(number),
            "challenge" => {
                let kind = numbers.next().unwrap_or_default().to_string();
                let mut state = self.state();
                let begun = state.authorizations.get_mut(number).ok_or_else(unknown)?;
                if begun.status != "pending" {
                    return Err(refusal(400, "malformed", "only a pending challenge is begun"));
                }
                begun.begun = Some(kind);
                Ok(document(200, &json!({ "status": "processing" })))
            }
            "finalize" => self.finalize(number, &payload),
            "certificate" => {
                let state = self.state();
                let chain = state.orders.get(number).and_then(|order| order.chain.clone());
                let body = chain.ok_or_else(unknown)?;
                let kind = "application/pem-certificate-chain";
                Ok(Answer { status: 200, kind, location: None, body })
            }
            _ => Err(unknown()),
        }
    }

    // Checks nonce, URL and signature; gives back by whose key, and what.
    fn opened(&self, request: &Request) -> Result<(Value, Value), Refusal> {
        let malformed = || refusal(400, "malformed", "no JSON Web Signature");
        let signed: Value = serde_json::from_slice(&request.body).map_err(|_| malformed())?;
        let part =
            |name: &str| signed[name].as_str().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let header = part("protected").ok_or_else(malformed)?;
        let header: Value = serde_json::from_slice(&header).map_err(|_| malformed())?;
        let mut state = self.state();
        let is_known = state.nonces.remove(header["nonce"].as_str().unwrap_or_default());
        let is_refused = state.refuse_nonces > 0;
        state.refuse_nonces = state.refuse_nonces.saturating_sub(1);
        if !is_known || is_refused {
            return Err((400, "badNonce", "this nonce is not good".into()));
        }
        if header["url"] != format!("{}{}", self.base, request.path) {
            return Err((401, "unauthorized", "signed for another URL".into()));
        }
        let jwk = match header["kid"].as_str() {
            None => header["jwk"].clone(),
            Some(kid) => {
                let number = kid.strip_prefix(&format!("{}/account/", self.base));
                let number = number.and_then(|number| number.parse::<usize>().ok());
                let known = number.and_then(|number| state.accounts.get(number).cloned());
                known.ok_or_else(|| refusal(400, "accountDoesNotExist", kid))?
            }
        };
        let number = |name: &str| {
            jwk[name]
                .as_str()
                .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
                .unwrap_or_default()
        };
        let point = [&[4][..], &number("x"), &number("y")].concat();
        let text = |name: &str| signed[name].as_str().unwrap_or_default().to_string();
        let input = format!("{}.{}", text("protected"), text("payload"));
        let signature = part("signature").ok_or_else(malformed)?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(input.as_bytes(), &signature)
            .map_err(|_| refusal(401, "unauthorized", "the signature does not hold"))?;
        let payload = part("payload").unwrap_or_default();
        Ok((jwk, serde_json::from_slice(&payload).unwrap_or(Value::Null)))
    }

    fn account(&self, jwk: &Value) -> Result<Answer, Refusal> {
        let mut state = self.state();
        let known = state.accounts.iter().position(|known| known == jwk);
        let number = known.unwrap_or_else(|| {
            state.accounts.push(jwk.clone());
            state.accounts.len() - 1
        });
        let status = if known.is_some() { 200 } else { 201 };
        let location = Some(format!("{}/account/{number}", self.base));
        Ok(Answer { location, ..document(status, &json!({ "status": "valid" })) })
    }

    fn new_order(&self, jwk: &Value, payload: &Value) -> Result<Answer, Refusal> {
        let mut state = self.state();
        let named = payload["identifiers"].as_array().into_iter().flatten();
        let names: Vec<String> =
            named.filter_map(|one| Some(one["value"].as_str()?.to_string())).collect();
        let mut authorizations = Vec::new();
        for name in &names {
            authorizations.push(state.authorizations.len());
            let made = Authorization {
                name: name.trim_start_matches("*.").to_string(),
                is_wildcard: name.starts_with("*."),
                token: state.next("token"),
                jwk: jwk.clone(),
                begun: None,
                status: "pending",
                why: String::new(),
            };
            state.authorizations.push(made);
        }
        let number = state.orders.len();
        state.orders.push(Order { names, authorizations, chain: None });
        drop(state);
        let location = Some(format!("{}/order/{number}", self.base));
        Ok(Answer { location, ..self.order(number, 201)? })
    }

    fn order(&self, number: usize, status: u16) -> Result<Answer, Refusal> {
        let (base, state) = (&self.base, self.state());
        let order = state.orders.get(number).ok_or_else(unknown)?;
        let proofs = || order.authorizations.iter().map(|at| state.authorizations[*at].status);
        let is_proved = proofs().all(|status| status == "valid");
        let turns_invalid = state.wrong.iter().any(|(_, wrong)| matches!(wrong, Wrong::Invalid));
        let standing = match &order.chain {
            _ if proofs().any(|status| status == "invalid") => "invalid",
            _ if is_proved && turns_invalid => "invalid",
            Some(_) if state.held.contains("finalize") => "processing",
            Some(_) => "valid",
            None if is_proved => "ready",
            None => "pending",
        };
        let links = order.authorizations.iter().map(|at| format!("{base}/authz/{at}"));
        let mut told = json!({
            "status": standing, "authorizations": links.collect::<Vec<_>>(),
            "finalize": format!("{base}/finalize/{number}"),
        });
        if standing == "valid" {
            told["certificate"] = json!(format!("{base}/certificate/{number}"));
        }
        if standing == "invalid" {
            told["error"] = json!({ "type": "urn:ietf:params:acme:error:unauthorized", "detail": "the script turns it invalid" });
        }
        Ok(document(status, &told))
    }

    // Looks for the proof once it is asked how things stand.
    fn authorization(&self, number: usize) -> Result<Answer, Refusal> {
        let (mut one, looks) = {
            let state = self.state();
            let held = state.held.contains("challenge");
            let looks = if held { Vec::new() } else { state.looks.clone() };
            (state.authorizations.get(number).ok_or_else(unknown)?.clone(), looks)
        };
        if let (Some(kind), "pending", false) = (&one.begun, one.status, looks.is_empty()) {
            let expected = authorized(&one);
            let found = looks
                .iter()
                .try_for_each(|place| place.look(kind, &one.name, &one.token, &expected));
            match found {
                Ok(()) => one.status = "valid",
                Err(why) => (one.status, one.why) = ("invalid", why),
            }
            self.state().authorizations[number] = one.clone();
        }
        let kinds: &[&str] =
            if one.is_wildcard { &["dns-01"] } else { &["http-01", "dns-01", "tls-alpn-01"] };
        let offer = |kind: &&str| {
            let mut offer = json!({
                "type": kind, "url": format!("{}/challenge/{number}/{kind}", self.base),
                "status": one.status, "token": one.token,
            });
            if !one.why.is_empty() {
                offer["error"] =
                    json!({ "type": "urn:ietf:params:acme:error:unauthorized", "detail": one.why });
            }
            offer
        };
        let told = json!({
            "identifier": { "type": "dns", "value": one.name }, "status": one.status,
            "wildcard": one.is_wildcard, "challenges": kinds.iter().map(offer).collect::<Vec<_>>(),
        });
        Ok(document(200, &told))
    }

    fn finalize(&self, number: usize, payload: &Value) -> Result<Answer, Refusal> {
        let bad = |why: &str| refusal(400, "badCSR", why);
        let request = payload["csr"].as_str().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let request = request.ok_or_else(|| bad("there is none"))?;
        let (_, parsed) =
            X509CertificationRequest::from_der(&request).map_err(|_| bad("it cannot be read"))?;
        let key = &parsed.certification_request_info.subject_pki.subject_public_key.data;
        let key = RequestedKey(key.to_vec());
        let mut state = self.state();
        let (life, serial) = (state.life, state.next("serial"));
        let wrong = state.wrong.first().map(|(_, wrong)| wrong.clone());
        let order = state.orders.get_mut(number).ok_or_else(unknown)?;
        let (mut names, mut key) = (order.names.clone(), key);
        match wrong {
            Some(Wrong::IssuesFor(name)) => names = vec![name.to_string()],
            Some(Wrong::IssuesOtherKey) => {
                key = RequestedKey(KeyPair::generate().unwrap().public_key_raw().to_vec());
            }
            _ => {}
        }
        order.chain = Some(self.issue(names, &key, life, &serial));
        drop(state);
        self.order(number, 200)
    }

    fn issue(&self, names: Vec<String>, key: &RequestedKey, life: u64, serial: &str) -> String {
        let moment = |secs: u64| {
            time::OffsetDateTime::from_unix_timestamp(i64::try_from(secs).unwrap()).unwrap()
        };
        let mut params = CertificateParams::new(names).unwrap();
        let now = seconds();
        (params.not_before, params.not_after) = (moment(now), moment(now + life));
        params.serial_number = Some(SerialNumber::from(sha256(serial.as_bytes())[..8].to_vec()));
        params.use_authority_key_identifier_extension = true;
        let made = params.signed_by(key, &*self.authority).unwrap();
        format!("{}{}", made.pem(), self.authority.pem())
    }
}

/// The key that a request for a certificate is about.
struct RequestedKey(Vec<u8>);

impl PublicKeyData for RequestedKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl State {
    fn next(&mut self, what: &str) -> String {
        self.given += 1;
        base64url(&sha256(format!("{what} {}", self.given).as_bytes()))
    }
}

// Token and thumbprint (RFC 8555 §8.1, RFC 7638).
fn authorized(one: &Authorization) -> String {
    let text = |name: &str| one.jwk[name].as_str().unwrap_or_default().to_string();
    let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, text("x"), text("y"));
    format!("{}.{}", one.token, base64url(&sha256(jwk.as_bytes())))
}

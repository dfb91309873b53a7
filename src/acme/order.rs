//! One order, from where it stands to a certificate (RFC 8555 §7.4, §7.5): names proved, the
//! request signed, the chain fetched. Where it stands is on the shelf and at the CA, so that a
//! process that ends in the middle goes on in the next.

use std::time::Duration;

use rcgen::{
    CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_RSA_SHA256,
};
use serde_json::{Value, json};

use super::Issuing;
use super::client::Client;
use super::documents::{Authorization, Offer, Order, Standing};
use super::heard::{Tell, Told, tell};
use super::jws::base64url;
use super::leaf::Leaf;
use super::proofs;
use super::shelf::{Proof, Saved, Shelf};
use super::trouble::{Kind, Trouble};
use crate::clock::Clock;
use crate::distribution::acme::{Acme, Challenge, KeyType, Orders};
use crate::semantics::time::format_http_date;

/// How often an order is looked at; each look is some time after the one before.
const LOOKS: u32 = 200;
/// How long the members of a fleet have to hear of a proof; each is told as soon as the log has it.
const FLEET_SETTLE: Duration = Duration::from_secs(2);
/// How often it is tried to tell them, once a second.
const TELLS: u32 = 20;
/// How many names an order may ask to be proved: more than any CA takes.
const NAMES: usize = 200;

/// What an order is made with.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub acme: &'a Acme,
    pub issuing: &'a Issuing,
    pub clock: &'a Clock,
    pub shelf: &'a Shelf,
    pub tell: &'a Tell,
}

/// Goes on with the order that is open, or makes one; gives back key and chain as PEM. `replaces`
/// is the id of the certificate that is renewed, if the CA is to know.
pub async fn obtain(
    context: Context<'_>,
    saved: &mut Saved,
    replaces: Option<&str>,
) -> Result<Vec<u8>, Trouble> {
    let Context { acme, issuing, clock, shelf, .. } = context;
    let mut client = Client::begin(acme, issuing, clock).await?;
    if let Some(found) = resumed(context, &mut client, saved).await? {
        match pursue(context, &mut client, saved, found).await {
            // The CA may have looked while no process was there to answer.
            Err(trouble) if matches!(trouble.kind, Kind::NotProved | Kind::Refused) => {
                forget(shelf, saved)?;
            }
            done => return done,
        }
    }
    let placed = place(context, &mut client, saved, replaces).await?;
    pursue(context, &mut client, saved, placed).await
}

// Does what an order wants until it is fulfilled, or has failed.
async fn pursue(
    context: Context<'_>,
    client: &mut Client<'_>,
    saved: &mut Saved,
    (url, mut order): (String, Order),
) -> Result<Vec<u8>, Trouble> {
    let Context { acme, shelf, .. } = context;
    for _ in 0..LOOKS {
        match order.status {
            Standing::Pending => prove(context, client, &order).await?,
            Standing::Ready => {
                let wish = json!({ "csr": base64url(&request(acme, shelf)?) });
                order = client.ask_for(&order.finalize, Some(&wish), "finalizing").await?.0;
                continue;
            }
            Standing::Processing => {}
            Standing::Valid => {
                let fetched = fetch(context, client, &order).await;
                // What is wrong with it once is wrong with it always: another order is made.
                if fetched.as_ref().is_err_and(|trouble| trouble.kind == Kind::Malformed) {
                    forget(shelf, saved)?;
                }
                return fetched;
            }
            _ => {
                forget(shelf, saved)?;
                let why = order.error.unwrap_or_default();
                let what = format!("the order is {:?}: {why}", order.status);
                return Err(Trouble::new(Kind::NotProved, what));
            }
        }
        let (now, reply): (Order, _) = client.ask_for(&url, None, "the order").await?;
        if now.status == Standing::Processing || now.status == Standing::Pending {
            tokio::time::sleep(client.pace(&reply)).await;
        }
        order = now;
    }
    Err(Trouble::new(Kind::TookTooLong, "the order comes to no end"))
}

fn forget(shelf: &Shelf, saved: &mut Saved) -> Result<(), Trouble> {
    saved.order = None;
    shelf.save(saved)?;
    shelf.forget_key()
}

// The order that a process before this one, or an attempt, left open. One that the CA does not
// know, or that failed, is forgotten.
async fn resumed(
    context: Context<'_>,
    client: &mut Client<'_>,
    saved: &mut Saved,
) -> Result<Option<(String, Order)>, Trouble> {
    let Some(url) = saved.order.clone() else { return Ok(None) };
    let looked = client.ask_for::<Order>(&url, None, "the open order").await;
    match looked {
        // Without the key that it was finalized with, an order is of no use.
        Ok((order, _)) if is_open(order.status, context.shelf.next_key()?.is_some()) => {
            Ok(Some((url, order)))
        }
        Ok(_) => forget(context.shelf, saved).map(|()| None),
        Err(trouble) if matches!(trouble.kind, Kind::Refused | Kind::Malformed) => {
            forget(context.shelf, saved).map(|()| None)
        }
        Err(trouble) => Err(trouble),
    }
}

const fn is_open(standing: Standing, has_key: bool) -> bool {
    match standing {
        Standing::Pending | Standing::Ready => true,
        Standing::Processing | Standing::Valid => has_key,
        Standing::Invalid | Standing::Deactivated | Standing::Expired | Standing::Revoked => false,
    }
}

// A new order. The key of one before is not used again.
async fn place(
    context: Context<'_>,
    client: &mut Client<'_>,
    saved: &mut Saved,
    replaces: Option<&str>,
) -> Result<(String, Order), Trouble> {
    let url = client.directory.new_order.clone();
    let names = context.acme.names.iter();
    let identifiers: Vec<Value> =
        names.map(|name| json!({ "type": "dns", "value": name })).collect();
    let mut wish = json!({ "identifiers": identifiers });
    let mut replaces = replaces.filter(|_| client.directory.renewal_info.is_some());
    let (order, reply) = loop {
        if let (Some(id), Some(fields)) = (replaces, wish.as_object_mut()) {
            fields.insert("replaces".into(), json!(id));
        }
        match client.ask_for::<Order>(&url, Some(&wish), "a new order").await {
            Ok(placed) => break placed,
            // The CA may not want to hear of the old one, or may have heard already (RFC 9773 §5).
            Err(trouble) if trouble.kind == Kind::Refused && replaces.take().is_some() => {
                wish = json!({ "identifiers": identifiers });
            }
            Err(trouble) => {
                if trouble.detail.contains("accountDoesNotExist") {
                    client.forget_account()?;
                }
                return Err(trouble);
            }
        }
    };
    let Some(url) = reply.location else {
        return Err(Trouble::new(Kind::Malformed, "the new order has no URL"));
    };
    context.shelf.forget_key()?;
    saved.order = Some(url.clone());
    context.shelf.save(saved)?;
    Ok((url, order))
}

// Shows a proof for each name that wants one, all at once, then has the CA look.
async fn prove(
    context: Context<'_>,
    client: &mut Client<'_>,
    order: &Order,
) -> Result<(), Trouble> {
    let Context { acme, issuing, shelf, .. } = context;
    if order.authorizations.len() > NAMES {
        return Err(Trouble::new(Kind::Malformed, "the order wants too many names proved"));
    }
    let (mut proofs, mut looks) = (Vec::new(), Vec::new());
    for url in &order.authorizations {
        let (asked, _) = client.ask_for::<Authorization>(url, None, "an authorization").await?;
        match asked.status {
            Standing::Valid => {}
            Standing::Pending => {
                let offer = chosen(acme, &asked)?;
                let token = offer.token()?.to_string();
                let authorization = client.key.authorization(&token);
                let kind = acme.challenge.word().to_string();
                let name = known_name(acme, &asked.identifier.value)?;
                proofs.push(Proof { kind, name, token, authorization });
                looks.push((url, offer.url.clone(), offer.status));
            }
            _ => return Err(not_proved(&asked)),
        }
    }
    proofs::show(issuing, acme, shelf, &proofs).await?;
    show_everywhere(context, proofs).await?;
    for (authorization, challenge, standing) in &looks {
        if *standing == Standing::Pending {
            have_looked(client, authorization, challenge).await?;
        }
    }
    for (url, ..) in &looks {
        watch(client, url).await?;
    }
    Ok(())
}

// Has the whole fleet show proofs: a CA may come to any member.
async fn show_everywhere(context: Context<'_>, proofs: Vec<Proof>) -> Result<(), Trouble> {
    let acme = context.acme;
    let is_in_dns = matches!(acme.challenge, Challenge::Dns01(_));
    if acme.orders != Orders::ForFleet || is_in_dns || proofs.is_empty() {
        return Ok(());
    }
    let told = Told::Proofs { certificate: acme.entry(), proofs };
    for _ in 0..TELLS {
        if tell(context.tell, &told).await {
            tokio::time::sleep(FLEET_SETTLE).await;
            return Ok(());
        }
        // An edge that has just started does not follow its fleet yet.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Err(Trouble::new(Kind::Here, "the fleet's log does not take the proofs"))
}

// Has the CA look. One that was asked to by a process before this one may have done so meanwhile,
// and refuses.
async fn have_looked(
    client: &mut Client<'_>,
    authorization: &str,
    challenge: &str,
) -> Result<(), Trouble> {
    let asked = client.ask(challenge, Some(&json!({})), "a challenge").await;
    let Err(trouble) = asked else { return Ok(()) };
    if trouble.kind != Kind::Refused {
        return Err(trouble);
    }
    let about = "an authorization";
    let (found, _) = client.ask_for::<Authorization>(authorization, None, about).await?;
    let is_it = |offer: &Offer| offer.url == challenge && offer.status != Standing::Pending;
    let has_begun = found.status == Standing::Valid || found.challenges.iter().any(is_it);
    if has_begun { Ok(()) } else { Err(trouble) }
}

// Waits until the CA has looked.
async fn watch(client: &mut Client<'_>, url: &str) -> Result<(), Trouble> {
    for _ in 0..LOOKS {
        let (asked, reply) = client.ask_for::<Authorization>(url, None, "an authorization").await?;
        match asked.status {
            Standing::Valid => return Ok(()),
            Standing::Pending | Standing::Processing => {
                tokio::time::sleep(client.pace(&reply)).await;
            }
            _ => return Err(not_proved(&asked)),
        }
    }
    Err(Trouble::new(Kind::TookTooLong, "an authorization comes to no end"))
}

fn chosen<'o>(acme: &Acme, asked: &'o Authorization) -> Result<&'o Offer, Trouble> {
    let kind = acme.challenge.word();
    asked.challenges.iter().find(|offer| offer.kind == kind).ok_or_else(|| {
        let offered: Vec<&str> =
            asked.challenges.iter().take(10).map(|offer| &*offer.kind).collect();
        let offered = super::trouble::said(&offered.join(", "));
        Trouble::new(Kind::NotProved, format!("the CA does not offer {kind}, but {offered}"))
    })
}

// The name that a proof is for: one of ours, whatever the CA says. It goes to a command and into a
// certificate.
fn known_name(acme: &Acme, said: &str) -> Result<String, Trouble> {
    let name = acme.names.iter().map(|name| name.strip_prefix("*.").unwrap_or(name));
    let mut name = name.filter(|name| name.eq_ignore_ascii_case(said));
    name.next().map(str::to_string).ok_or_else(|| {
        Trouble::new(Kind::Malformed, "the CA wants a name proved that was not ordered")
    })
}

fn not_proved(asked: &Authorization) -> Trouble {
    let problem = asked.challenges.iter().find_map(|offer| offer.error.as_ref());
    let name = super::trouble::said(&asked.identifier.value);
    let why = match problem {
        Some(problem) => problem.to_string(),
        None => format!("it is {:?}", asked.status),
    };
    Trouble::new(Kind::NotProved, format!("{name}: {why}"))
}

// The key of the certificate to come: on the shelf before the CA hears of it.
fn next_key(acme: &Acme, shelf: &Shelf) -> Result<KeyPair, Trouble> {
    let told = |error: rcgen::Error| Trouble::new(Kind::Here, format!("the key: {error}"));
    if let Some(pem) = shelf.next_key()? {
        return KeyPair::from_pem(&pem).map_err(told);
    }
    let algorithm = match acme.key {
        KeyType::EcdsaP256 => &PKCS_ECDSA_P256_SHA256,
        KeyType::EcdsaP384 => &PKCS_ECDSA_P384_SHA384,
        KeyType::Rsa2048 => &PKCS_RSA_SHA256,
    };
    let key = KeyPair::generate_for(algorithm).map_err(told)?;
    shelf.keep_key(&key.serialize_pem())?;
    Ok(key)
}

// The request for a certificate, DER.
fn request(acme: &Acme, shelf: &Shelf) -> Result<Vec<u8>, Trouble> {
    let key = next_key(acme, shelf)?;
    let told = |error: rcgen::Error| Trouble::new(Kind::Here, format!("the request: {error}"));
    let mut params = CertificateParams::new(acme.names.clone()).map_err(told)?;
    // The names stand in the extension alone; a common name may be no longer than 64.
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).map_err(told)?;
    Ok(request.der().as_ref().to_vec())
}

// Fetches the chain and looks whether it is what was ordered. The edge is given it only then.
async fn fetch(
    context: Context<'_>,
    client: &mut Client<'_>,
    order: &Order,
) -> Result<Vec<u8>, Trouble> {
    let malformed = |why: String| Trouble::new(Kind::Malformed, format!("the certificate {why}"));
    let Some(url) = &order.certificate else { return Err(malformed("has no URL".into())) };
    let reply = client.ask(url, None, "the certificate").await?;
    let leaf = Leaf::of_pem(&reply.body).map_err(|why| malformed(format!("is none: {why}")))?;
    if !leaf.is_for(&context.acme.names) {
        return Err(malformed("is not for the names that were ordered".into()));
    }
    let now = context.clock.now();
    if leaf.life.until <= now {
        return Err(malformed("is over already".into()));
    }
    // It would put one that can be served out of its place. The order is kept, and is taken up once
    // the clock is right.
    if leaf.life.from > now {
        let from = format_http_date(leaf.life.from);
        let why = format!("the certificate holds from {from} only: is this machine's clock right?");
        return Err(Trouble::new(Kind::Here, why));
    }
    let Some(key) = context.shelf.next_key()? else {
        return Err(Trouble::new(Kind::Here, "the key of the order is gone"));
    };
    let pair = KeyPair::from_pem(&key).map_err(|error| malformed(error.to_string()))?;
    if !leaf.is_of_key(pair.public_key_raw()) {
        return Err(malformed("is for another key".into()));
    }
    let mut pem = key.into_bytes();
    pem.extend_from_slice(b"\n");
    pem.extend_from_slice(&reply.body);
    Ok(pem)
}

//! A conversation with a CA: its directory, an account, and signed requests with a nonce each
//! (RFC 8555 §6, §7.1 to §7.3).

use std::time::Duration;

use http::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Issuing;
use super::board::Board;
use super::documents::{Directory, Problem, RenewalInfo, read};
use super::jws::{AccountKey, By};
use super::renewal::{Window, moment};
use super::shelf;
use super::trouble::{Kind, Trouble, retry_after};
use super::wire::{Reply, Wire};
use crate::clock::Clock;
use crate::distribution::acme::Acme;

/// How often a request is sent because its nonce was not good: a CA that refuses three good ones of
/// ten, as Pebble does when it is told to, ends no order by that.
const NONCES: u32 = 12;
/// How long the CA is left alone where it says nothing about its window.
const ASK_AGAIN: Duration = Duration::from_secs(6 * 3600);

/// The pause between two looks at an order where the CA asks for none.
const SHORTEST_PACE: Duration = Duration::from_millis(500);
/// The longest one.
const LONGEST_PACE: Duration = Duration::from_secs(30);

/// The conversation.
pub struct Client<'a> {
    wire: Wire,
    acme: &'a Acme,
    issuing: &'a Issuing,
    clock: &'a Clock,
    pub directory: Directory,
    pub key: AccountKey,
    account: Option<String>,
    nonce: Option<String>,
}

/// Reads a CA's directory.
async fn directory(wire: &Wire, acme: &Acme, clock: &Clock) -> Result<Directory, Trouble> {
    let reply = wire.send(Method::GET, &acme.directory, None).await?;
    if reply.status != 200 {
        return Err(refused(&reply, "the directory", clock));
    }
    read("the directory", &reply.body)
}

fn refused(reply: &Reply, about: &str, clock: &Clock) -> Trouble {
    let trouble = Problem::read(reply.status, &reply.body);
    let asked = reply.retry_after.as_deref().and_then(|field| retry_after(field, clock.now()));
    Trouble { asked, detail: format!("{about}: {}", trouble.detail), ..trouble }
}

/// Asks when a certificate is to be renewed: the window, and after how long to ask again. `None` if
/// the CA does not say such things.
pub async fn renewal_window(
    acme: &Acme,
    clock: &Clock,
    id: &str,
) -> Result<Option<(Window, Duration)>, Trouble> {
    let wire = Wire::new(&acme.roots)?;
    let Some(url) = directory(&wire, acme, clock).await?.renewal_info else { return Ok(None) };
    let url = format!("{}/{id}", url.trim_end_matches('/'));
    let reply = wire.send(Method::GET, &url, None).await?;
    if reply.status != 200 {
        return Err(refused(&reply, "the renewal window", clock));
    }
    let info: RenewalInfo = read("the renewal window", &reply.body)?;
    let (start, end) = (moment(&info.suggested_window.start), moment(&info.suggested_window.end));
    let (Some(start), Some(end)) = (start, end) else {
        return Err(Trouble::new(Kind::Malformed, "the renewal window has no moments"));
    };
    let again = reply.retry_after.as_deref().and_then(|field| retry_after(field, clock.now()));
    let again = again.unwrap_or(ASK_AGAIN);
    // RFC 9773 §4.3.3 would have it asked no more often than each minute, and no less than daily.
    let again = again.clamp(Duration::from_secs(60), Duration::from_secs(86_400));
    Ok(Some((Window { start, end }, again)))
}

impl<'a> Client<'a> {
    /// Begins: reads the directory, and has the CA know the account.
    pub async fn begin(
        acme: &'a Acme,
        issuing: &'a Issuing,
        clock: &'a Clock,
    ) -> Result<Self, Trouble> {
        let wire = Wire::new(&acme.roots)?;
        let directory = directory(&wire, acme, clock).await?;
        let (key, account) = shelf::account(acme)?;
        let mut client = Self { wire, acme, issuing, clock, directory, key, account, nonce: None };
        if client.account.is_none() {
            client.register().await?;
        }
        Ok(client)
    }

    // A CA that knows the key gives back the account it has (RFC 8555 §7.3), so this may be done
    // again after it was cut short.
    async fn register(&mut self) -> Result<(), Trouble> {
        let url = self.directory.new_account.clone();
        let mut wish = json!({ "termsOfServiceAgreed": true });
        if !self.acme.contact.is_empty() {
            wish["contact"] = json!(self.acme.contact);
        }
        if let Some(eab) = &self.acme.eab {
            wish["externalAccountBinding"] = self.key.bind(&eab.kid, &eab.hmac, &url);
        }
        let reply = self.ask(&url, Some(&wish), "the account").await?;
        let Some(location) = reply.location else {
            return Err(Trouble::new(Kind::Malformed, "the account has no URL"));
        };
        shelf::keep_account(self.acme, &self.key, Some(&location))?;
        self.account = Some(location);
        Ok(())
    }

    /// Forgets the account's URL: the CA does not know it any more. The next attempt makes another
    /// under the same key.
    pub fn forget_account(&self) -> Result<(), Trouble> {
        shelf::keep_account(self.acme, &self.key, None)
    }

    /// Sends a signed request, again if only its nonce was not good; without a payload it asks for
    /// what is there. `about` names it in errors. An answer that is no success is an error.
    pub async fn ask(
        &mut self,
        url: &str,
        payload: Option<&Value>,
        about: &str,
    ) -> Result<Reply, Trouble> {
        let mut tried = 0;
        loop {
            let nonce = self.nonce().await?;
            let by = self.account.as_deref().map_or(By::Key, By::Account);
            let signed = self.key.sign(by, url, &nonce, payload);
            let signed = signed.map_err(|why| Trouble::new(Kind::Here, why))?;
            let reply = self.wire.send(Method::POST, url, Some(signed)).await?;
            self.nonce.clone_from(&reply.nonce);
            if (200..300).contains(&reply.status) {
                return Ok(reply);
            }
            let trouble = refused(&reply, about, self.clock);
            tried += 1;
            if !trouble.is_bad_nonce || tried >= NONCES {
                return Err(trouble);
            }
            Board::count(&self.issuing.board.nonces_refused);
        }
    }

    /// The same for a document.
    pub async fn ask_for<T: DeserializeOwned>(
        &mut self,
        url: &str,
        payload: Option<&Value>,
        about: &str,
    ) -> Result<(T, Reply), Trouble> {
        let reply = self.ask(url, payload, about).await?;
        Ok((read(about, &reply.body)?, reply))
    }

    /// How long an answer wants to be waited for, in bounds that suit polling.
    pub fn pace(&self, reply: &Reply) -> Duration {
        let asked =
            reply.retry_after.as_deref().and_then(|field| retry_after(field, self.clock.now()));
        asked.unwrap_or(SHORTEST_PACE).clamp(SHORTEST_PACE, LONGEST_PACE)
    }

    // The nonce of the last answer, or a new one. It goes into a signed text only.
    async fn nonce(&mut self) -> Result<String, Trouble> {
        if let Some(nonce) = self.nonce.take() {
            return Ok(nonce);
        }
        let url = self.directory.new_nonce.clone();
        let reply = self.wire.send(Method::HEAD, &url, None).await?;
        reply.nonce.ok_or_else(|| {
            Trouble::new(Kind::Malformed, format!("no nonce, status {}", reply.status))
        })
    }
}

//! Field-level encryption of an imported distribution: the configuration that a behavior names, with
//! its profiles and their public keys.

use std::fmt::Write;

use serde_json::Value;

use super::documents::Kind;
use super::forms;
use super::import::{Job, quoted};
use super::node::Node;
use super::report::Rank;
use super::strict::Unfit;
use crate::crypto::key::PublicKey;

/// What may be missing of it, in the report.
const CALLS: &str = "give the outputs of get-field-level-encryption, get-field-level-encryption-profile and get-public-key too";

impl<'d> Job<'d, '_> {
    /// `field_encryption` of a behavior, if all that it needs is at hand.
    pub(super) fn field_encryption(&mut self, behavior: &Node<'d>, pattern: &str) {
        let Some(id) = behavior.text("FieldLevelEncryptionId") else { return };
        let before = (self.made.clone(), self.files.clone());
        // What is served has tables of its own under their ids.
        let made = match self.served_as {
            Some(_) => Ok(()),
            None => self.takes_forms(behavior).and_then(|()| self.forms_table(id)),
        };
        match made {
            Ok(()) => {
                let _ = writeln!(self.out, "field_encryption = {}", quoted(id));
            }
            Err(why) => {
                // Nothing names what was made of it so far.
                (self.made, self.files) = before;
                self.note(
                    Rank::BeforeServing,
                    format!("{pattern}: field-level encryption {id} is not carried over, and fields reach the origin as they are: {why}"),
                );
            }
        }
    }

    // Whether a behavior may have it here.
    fn takes_forms(&self, behavior: &Node<'d>) -> Result<(), String> {
        if !behavior.texts("AllowedMethods").contains(&"POST") {
            return Err("AllowedMethods has no POST".into());
        }
        match behavior.get("GrpcConfig").is_some_and(|grpc| grpc.is("Enabled")) {
            true => Err("GrpcConfig: a call of gRPC is no form".into()),
            false => Ok(()),
        }
    }

    fn forms_table(&mut self, id: &'d str) -> Result<(), String> {
        let slot = format!("6 field encryption {id}");
        if self.made.contains_key(&slot) {
            return Ok(());
        }
        let config = self.document(Kind::FieldEncryption, id)?;
        let table = forms::config(id, config).map_err(said)?;
        for (_, profile, _) in forms::named(config) {
            self.profile_table(profile)?;
        }
        let note = "messages are of suite 0x0478, which the Encryption SDKs read since 2020; suite = \"cloudfront\" of the table makes those of 0x0378";
        self.say(Rank::ToKnow, format!("field-level encryption {id}: {note}"));
        self.made.insert(slot, table);
        Ok(())
    }

    fn profile_table(&mut self, id: &'d str) -> Result<(), String> {
        let slot = format!("5 field encryption profile {id}");
        if self.made.contains_key(&slot) {
            return Ok(());
        }
        let config = self.document(Kind::FieldEncryptionProfile, id)?;
        let table = forms::profile(id, config).map_err(said)?;
        for (_, key, _) in forms::named(config) {
            self.encrypting_key(key)?;
        }
        self.made.insert(slot, table);
        Ok(())
    }

    fn encrypting_key(&mut self, id: &'d str) -> Result<(), String> {
        let config = self.document(Kind::PublicKey, id)?;
        let pem = config.get("EncodedKey").and_then(Value::as_str).unwrap_or("");
        let key = PublicKey::from_pem(id, pem.as_bytes())
            .map_err(|why| format!("public key {id}: {why}"))?;
        if key.rsa_der().is_none() {
            return Err(format!("public key {id} is no RSA key"));
        }
        let name = config.get("Name").and_then(Value::as_str).unwrap_or("");
        self.write_key(id, name, pem);
        Ok(())
    }

    // What lies here under an id; all of it counts as read.
    fn document(&mut self, kind: Kind, id: &'d str) -> Result<&'d Value, String> {
        match self.shelf.find(kind, id) {
            Some(node) => {
                node.take();
                Ok(node.value())
            }
            None => Err(format!("{} {id} is not at hand; {CALLS}", kind.words())),
        }
    }
}

fn said(unfit: Unfit) -> String {
    unfit.message
}

//! Pure: a message of SNS around what a bucket tells, and what its signature is over.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::crypto::key::{Hash, PublicKey};
use crate::distribution::events::{HttpsUrl, Sns};

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Notification,
    /// The topic asks whether this address wants its messages.
    Subscription,
    /// It tells that this address will have no more of them.
    Unsubscription,
}

/// A message as it was posted.
#[derive(Debug, PartialEq, Eq)]
pub struct Envelope<'v> {
    pub purpose: Purpose,
    pub topic: &'v str,
    pub message: &'v str,
    fields: &'v Map<String, Value>,
}

/// Where the certificate lies that a signature is to be checked with, and the signature.
#[derive(Debug, PartialEq, Eq)]
pub struct Signed {
    pub certificate: HttpsUrl,
    pub hash: Hash,
    pub text: String,
    pub signature: Vec<u8>,
}

impl<'v> Envelope<'v> {
    /// The message that a body is; `None` if it is something else. The error says what is wrong
    /// with one.
    pub fn of(value: &'v Value) -> Result<Option<Self>, String> {
        let Value::Object(fields) = value else { return Ok(None) };
        let word = |name: &str| fields.get(name).and_then(Value::as_str);
        let (Some(kind), Some(topic)) = (word("Type"), word("TopicArn")) else { return Ok(None) };
        let purpose = match kind {
            "Notification" => Purpose::Notification,
            "SubscriptionConfirmation" => Purpose::Subscription,
            "UnsubscribeConfirmation" => Purpose::Unsubscription,
            other => return Err(format!("a message of SNS of the type {other:?} is not known")),
        };
        let message = word("Message").ok_or("a message of SNS without Message")?;
        Ok(Some(Self { purpose, topic, message, fields }))
    }

    /// Says whether messages of its topic are wanted.
    pub fn is_of(&self, settings: &Sns) -> bool {
        settings.topics.iter().any(|topic| topic == self.topic)
    }

    /// Its signature, if the certificate lies where one may; the error says what is wrong.
    pub fn signed(&self, settings: &Sns) -> Result<Signed, String> {
        let hash = match self.word("SignatureVersion") {
            Some("1") => Hash::Sha1,
            Some("2") => Hash::Sha256,
            other => return Err(format!("the signature version {other:?} is not known")),
        };
        // SNS spells it in both ways.
        let address = self.word("SigningCertURL").or_else(|| self.word("SigningCertUrl"));
        let certificate = allowed(address.ok_or("SigningCertURL is missing")?, settings)?;
        // With a query it would be a call of the API of SNS, whose answer says what others wrote.
        if certificate.target.contains('?') || !certificate.target.ends_with(".pem") {
            return Err("SigningCertURL leads to something else than a certificate".into());
        }
        let signature = self.word("Signature").ok_or("Signature is missing")?;
        let signature = STANDARD.decode(signature).map_err(|_| "Signature is no base64")?;
        Ok(Signed { certificate, hash, text: self.text()?, signature })
    }

    /// The address that confirms a subscription, if it is one that may be asked.
    pub fn confirmation(&self, settings: &Sns) -> Result<HttpsUrl, String> {
        allowed(self.word("SubscribeURL").ok_or("SubscribeURL is missing")?, settings)
    }

    fn word(&self, name: &str) -> Option<&'v str> {
        self.fields.get(name).and_then(Value::as_str)
    }

    // What is signed: names and values, a line each, in the order of their names.
    fn text(&self) -> Result<String, String> {
        const OF_A_MESSAGE: [&str; 6] =
            ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"];
        const OF_A_QUESTION: [&str; 7] =
            ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"];
        let names: &[&str] = match self.purpose {
            Purpose::Notification => &OF_A_MESSAGE,
            Purpose::Subscription | Purpose::Unsubscription => &OF_A_QUESTION,
        };
        let mut text = String::new();
        for name in names {
            match self.word(name) {
                Some(value) => {
                    text.push_str(name);
                    text.push('\n');
                    text.push_str(value);
                    text.push('\n');
                }
                // The only one that a message may do without.
                None if *name == "Subject" => {}
                None => return Err(format!("{name} is missing")),
            }
        }
        Ok(text)
    }
}

impl Signed {
    /// Says whether the signature was made with the certificate's key.
    pub fn holds(&self, key: &PublicKey) -> bool {
        key.verifies(self.hash, self.text.as_bytes(), &self.signature)
    }
}

fn allowed(address: &str, settings: &Sns) -> Result<HttpsUrl, String> {
    let url = HttpsUrl::parse(address).ok_or_else(|| format!("{address:?} is no https URL"))?;
    if settings.hosts.iter().any(|host| host.includes(&url)) {
        return Ok(url);
    }
    Err(format!("{:?} is not among events.s3.sns.hosts", url.authority()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::events::{SnsHost, Subscriptions};
    use crate::distribution::origin::{OriginTls, Roots, TlsVersion};
    use serde_json::json;

    const TOPIC: &str = "arn:aws:sns:eu-central-1:123456789012:uploads";
    const CERTIFICATE: &str =
        "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-01d088a6f77103d0.pem";

    fn settings() -> Sns {
        let (roots, min) = (Roots::System, TlsVersion::V1_2);
        Sns {
            topics: vec![TOPIC.into()],
            hosts: vec![SnsHost::parse(SnsHost::USUAL).unwrap()],
            subscriptions: Subscriptions::Ignore,
            tls: OriginTls {
                roots,
                server_name: None,
                identity: None,
                min,
                more_names: Vec::new(),
            },
        }
    }

    fn notification() -> Value {
        json!({
            "Type": "Notification", "MessageId": "22b80b92", "TopicArn": TOPIC, "Message": "{}",
            "Subject": "Amazon S3 Notification", "Timestamp": "2026-11-25T08:00:00.000Z",
            "SignatureVersion": "2", "Signature": "AAAA", "SigningCertURL": CERTIFICATE,
            "UnsubscribeURL": "https://sns.eu-central-1.amazonaws.com/?Action=Unsubscribe"
        })
    }

    #[test]
    fn what_is_signed_is_in_the_order_of_names() {
        let mut value = notification();
        let text = |value: &Value| {
            let envelope = Envelope::of(value).unwrap().unwrap();
            envelope.signed(&settings()).map(|signed| signed.text)
        };
        let with_subject = format!(
            "Message\n{{}}\nMessageId\n22b80b92\nSubject\nAmazon S3 Notification\nTimestamp\n2026-11-25T08:00:00.000Z\nTopicArn\n{TOPIC}\nType\nNotification\n"
        );
        assert_eq!(text(&value), Ok(with_subject.clone()));
        value.as_object_mut().unwrap().remove("Subject");
        let without = with_subject.replace("Subject\nAmazon S3 Notification\n", "");
        assert_eq!(text(&value), Ok(without));
        value["Type"] = json!("SubscriptionConfirmation");
        assert!(text(&value).unwrap_err().contains("SubscribeURL"));
        value["SubscribeURL"] = json!("https://sns.eu-central-1.amazonaws.com/?Action=Confirm");
        value["Token"] = json!("2336412f");
        let question = text(&value).unwrap();
        assert!(question.contains("SubscribeURL\nhttps://") && question.contains("Token\n2336"));
    }

    #[test]
    fn certificates_lie_where_they_may() {
        for (name, to, word) in [
            ("SigningCertURL", json!("https://evil.test/a.pem"), "events.s3.sns.hosts"),
            ("SigningCertURL", json!("http://sns.eu-central-1.amazonaws.com/a.pem"), "no https"),
            ("SigningCertURL", json!("https://sns.s3-us-west-2.amazonaws.com/a.pem"), "hosts"),
            (
                "SigningCertURL",
                json!("https://sns.eu-central-1.amazonaws.com/?a"),
                "something else",
            ),
            (
                "SigningCertURL",
                json!("https://sns.eu-central-1.amazonaws.com/?Action=GetTopicAttributes&x=a.pem"),
                "something else",
            ),
            ("SigningCertURL", Value::Null, "missing"),
            ("SignatureVersion", json!("3"), "not known"),
            ("Signature", json!("%"), "no base64"),
            ("MessageId", Value::Null, "MessageId"),
        ] {
            let mut value = notification();
            value[name] = to;
            let envelope = Envelope::of(&value).unwrap().unwrap();
            let why = envelope.signed(&settings()).unwrap_err();
            assert!(why.contains(word), "{name}: {why}");
        }
    }

    #[test]
    fn other_bodies_are_no_messages() {
        assert_eq!(Envelope::of(&json!({ "Records": [] })), Ok(None));
        assert_eq!(Envelope::of(&json!([1])), Ok(None));
        let mut value = notification();
        value["Type"] = json!("Else");
        assert!(Envelope::of(&value).is_err());
        let mut value = notification();
        let is_of = |value: &Value| Envelope::of(value).unwrap().unwrap().is_of(&settings());
        assert!(is_of(&value));
        value["TopicArn"] = json!("arn:aws:sns:eu-central-1:999999999999:uploads");
        assert!(!is_of(&value), "any account's topic is signed by the same key");
    }
}

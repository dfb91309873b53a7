//! What a viewer's certificate says of it, as `CloudFront-Viewer-Cert-*` fields have it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Whether a certificate was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    Verified,
    /// It was taken as it is (`mode = "passthrough"`): whatever it says, its holder may have
    /// written.
    Unverified,
}

/// The certificate that a viewer showed, read once a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewerCertificate {
    pub proof: Proof,
    /// Octets in hex, with colons between.
    pub serial: String,
    /// As RFC 2253 writes it.
    pub issuer: String,
    pub subject: String,
    /// 64 hex digits, of the whole certificate.
    pub sha256: String,
    /// `NotBefore=2026-01-01T00:00:00Z;NotAfter=…`.
    pub validity: String,
    pub der: Box<[u8]>,
    /// What was shown behind it, where an origin verifies that: DER, none where it was verified.
    pub others: Vec<Box<[u8]>>,
}

// What stays as it is in a URL-encoded PEM beside letters and digits.
const IN_PEM: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

impl ViewerCertificate {
    /// The value of a field, by its name without `cloudfront-viewer-cert-`.
    pub fn field(&self, name: &str) -> Option<String> {
        match name {
            "serial-number" => Some(self.serial.clone()),
            "issuer" => Some(plain(&self.issuer)),
            "subject" => Some(plain(&self.subject)),
            "sha256" => Some(self.sha256.clone()),
            "validity" => Some(self.validity.clone()),
            "pem" => Some(utf8_percent_encode(&self.pem(), IN_PEM).to_string()),
            _ => None,
        }
    }

    /// The value of `Client-Cert` or `Client-Cert-Chain` (RFC 9440 §2.2, §2.3): of a certificate
    /// that an origin is to verify. Of others an origin is told what was found
    /// (`CloudFront-Viewer-Cert-*`).
    pub fn client_cert(&self, name: &str) -> Option<String> {
        if self.proof == Proof::Verified {
            return None;
        }
        let octets = |der: &[u8]| format!(":{}:", STANDARD.encode(der));
        match name {
            "client-cert" => Some(octets(&self.der)),
            _ if self.others.is_empty() => None,
            _ => {
                let all: Vec<String> = self.others.iter().map(|der| octets(der)).collect();
                Some(all.join(", "))
            }
        }
    }

    fn pem(&self) -> String {
        let text = STANDARD.encode(&self.der);
        let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
        let mut rest = text.as_str();
        while !rest.is_empty() {
            // Base64 is ASCII: every place is one between characters.
            let (line, more) = rest.split_at(rest.len().min(64));
            out.push_str(line);
            out.push('\n');
            rest = more;
        }
        out.push_str("-----END CERTIFICATE-----\n");
        out
    }
}

// As other fields of CloudFront's: whatever is not ASCII is percent-encoded.
fn plain(text: &str) -> String {
    utf8_percent_encode(text, percent_encoding::CONTROLS).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_hold_what_a_field_may_hold() {
        let certificate = ViewerCertificate {
            proof: Proof::Verified,
            serial: "0a:ff".into(),
            issuer: "CN=Ü\r\nX: y".into(),
            subject: "CN=a".into(),
            sha256: "00".into(),
            validity: "NotBefore=a;NotAfter=b".into(),
            der: vec![7; 100].into(),
            others: Vec::new(),
        };
        assert_eq!(certificate.field("issuer").as_deref(), Some("CN=%C3%9C%0D%0AX: y"));
        assert_eq!(certificate.field("serial-number").as_deref(), Some("0a:ff"));
        assert_eq!(certificate.field("else"), None);
        let pem = certificate.field("pem").unwrap();
        assert!(pem.starts_with("-----BEGIN%20CERTIFICATE-----%0A"), "{pem}");
        let text = percent_encoding::percent_decode_str(&pem).decode_utf8().unwrap();
        let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
        assert_eq!(STANDARD.decode(body).unwrap(), [7; 100]);
        assert!(text.lines().all(|line| line.len() <= 64));
        assert_eq!(certificate.client_cert("client-cert"), None, "it was verified here");
    }

    #[test]
    fn rfc9440_2_a_certificate_is_a_byte_sequence_and_its_chain_a_list() {
        let certificate = ViewerCertificate {
            proof: Proof::Unverified,
            serial: String::new(),
            issuer: String::new(),
            subject: String::new(),
            sha256: String::new(),
            validity: String::new(),
            der: vec![1, 2, 3].into(),
            others: vec![vec![4_u8].into_boxed_slice(), vec![5].into_boxed_slice()],
        };
        assert_eq!(certificate.client_cert("client-cert").as_deref(), Some(":AQID:"));
        let chain = certificate.client_cert("client-cert-chain");
        assert_eq!(chain.as_deref(), Some(":BA==:, :BQ==:"));
        let alone = ViewerCertificate { others: Vec::new(), ..certificate };
        assert_eq!(alone.client_cert("client-cert-chain"), None);
    }
}

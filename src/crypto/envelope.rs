//! Messages of the AWS Encryption SDK with one wrapped key, as field-level encryption makes them:
//! the committed suite 0x0478 in message format 2, and CloudFront's 0x0378 in format 1.
//!
//! A data key of its own for each message, wrapped by RSA-OAEP with SHA-256; frames of
//! AES-256-GCM. Reading is for trying things out: it takes what [`encrypt`] makes, and what older and
//! newer suites make of the same key and cipher, and checks every tag and commitment, but it holds
//! no signature against its key.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::constant_time;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{self, HKDF_SHA256, HKDF_SHA384, HKDF_SHA512, Salt};
use aws_lc_rs::rand;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey,
    PrivateDecryptingKey, PublicEncryptingKey,
};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Octets of text in a frame; the SDKs' default.
const FRAME: usize = 4096;
const TAG: usize = 16;
const IV: usize = 12;
const FINAL: [u8; 4] = [0xff; 4];
/// Most octets that a provider or a name may have.
pub const NAME_MAX: usize = 255;

/// How a message is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Suite {
    /// 0x0478: the data key is committed to. SDKs read it under their default policy.
    #[default]
    Committed,
    /// 0x0378: signed with ECDSA P-384 and not committed; readers have to allow that.
    CloudFront,
}

impl Suite {
    const fn id(self) -> [u8; 2] {
        match self {
            Self::Committed => [0x04, 0x78],
            Self::CloudFront => [0x03, 0x78],
        }
    }

    /// Its number, as the Encryption SDK's papers write it.
    pub const fn number(self) -> &'static str {
        match self {
            Self::Committed => "0x0478",
            Self::CloudFront => "0x0378",
        }
    }
}

/// An RSA key that data keys are wrapped with.
#[derive(Clone, Debug)]
pub struct WrappingKey(PublicEncryptingKey);

impl WrappingKey {
    /// Reads a SubjectPublicKeyInfo.
    pub fn from_der(der: &[u8]) -> Result<Self, String> {
        PublicEncryptingKey::from_der(der)
            .map(Self)
            .map_err(|_| "field-level encryption takes RSA keys of 2048 bits and more".to_string())
    }

    fn wrap(&self, data_key: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let key = OaepPublicEncryptingKey::new(self.0.clone())?;
        let mut wrapped = vec![0; key.ciphertext_size()];
        let len = key.encrypt(&OAEP_SHA256_MGF1SHA256, data_key, &mut wrapped, None)?.len();
        wrapped.truncate(len);
        Ok(wrapped)
    }
}

/// Whom a message is for: the reader has to say the same two strings.
#[derive(Clone, Copy, Debug)]
pub struct Recipient<'r> {
    pub provider: &'r str,
    pub key_name: &'r str,
    pub key: &'r WrappingKey,
}

/// Makes a message. It fails only where randomness does, or where a name is too long.
pub fn encrypt(suite: Suite, to: Recipient<'_>, text: &[u8]) -> Result<Vec<u8>, Unspecified> {
    let mut data_key = [0; 32];
    rand::fill(&mut data_key)?;
    let signer = match suite {
        Suite::Committed => None,
        Suite::CloudFront => Some(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING)?),
    };
    let mut id = [0; 32];
    let id = match suite {
        Suite::Committed => &mut id[..],
        Suite::CloudFront => &mut id[..16],
    };
    rand::fill(id)?;
    let keys = derive(suite.id(), &data_key, id)?;
    let mut out = Vec::with_capacity(700 + text.len() + text.len() / FRAME * 32);
    write_header(&mut out, suite, id, signer.as_ref())?;
    out.extend_from_slice(&[0, 1]);
    write_short(&mut out, to.provider.as_bytes())?;
    write_short(&mut out, to.key_name.as_bytes())?;
    write_short(&mut out, &to.key.wrap(&data_key)?)?;
    // Framed.
    out.push(2);
    if suite == Suite::CloudFront {
        out.extend_from_slice(&[0, 0, 0, 0, IV as u8]);
    }
    out.extend_from_slice(&(FRAME as u32).to_be_bytes());
    if suite == Suite::Committed {
        out.extend_from_slice(&keys.commitment);
    }
    let tag = seal(&keys.key, [0; IV], &out, &mut [])?;
    if suite == Suite::CloudFront {
        out.extend_from_slice(&[0; IV]);
    }
    out.extend_from_slice(&tag);
    write_frames(&mut out, &keys.key, id, text)?;
    if let Some(signer) = signer {
        let signature = signer.sign(&SystemRandom::new(), &out)?;
        write_short(&mut out, signature.as_ref())?;
    }
    Ok(out)
}

// Up to the encryption context, which is empty but for the key that the message is signed with.
fn write_header(
    out: &mut Vec<u8>,
    suite: Suite,
    id: &[u8],
    signer: Option<&EcdsaKeyPair>,
) -> Result<(), Unspecified> {
    match suite {
        Suite::Committed => out.push(2),
        Suite::CloudFront => out.extend_from_slice(&[1, 0x80]),
    }
    out.extend_from_slice(&suite.id());
    out.extend_from_slice(id);
    let Some(signer) = signer else {
        out.extend_from_slice(&[0, 0]);
        return Ok(());
    };
    let mut context = vec![0, 1];
    write_short(&mut context, b"aws-crypto-public-key")?;
    write_short(&mut context, compressed(signer)?.as_bytes())?;
    write_short(out, &context)
}

// The public point in base64, as SEC 1 §2.3.3 compresses it.
fn compressed(signer: &EcdsaKeyPair) -> Result<String, Unspecified> {
    let point = signer.public_key().as_ref();
    let (x, y) = match point {
        [4, rest @ ..] if rest.len() == 96 => rest.split_at(48),
        _ => return Err(Unspecified),
    };
    let mut short = vec![2 + (y[47] & 1)];
    short.extend_from_slice(x);
    Ok(STANDARD.encode(short))
}

fn write_short(out: &mut Vec<u8>, octets: &[u8]) -> Result<(), Unspecified> {
    let len = u16::try_from(octets.len()).map_err(|_| Unspecified)?;
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(octets);
    Ok(())
}

fn write_frames(
    out: &mut Vec<u8>,
    key: &LessSafeKey,
    id: &[u8],
    text: &[u8],
) -> Result<(), Unspecified> {
    let (mut rest, mut number) = (text, 1_u32);
    while rest.len() > FRAME {
        let (frame, after) = rest.split_at(FRAME);
        out.extend_from_slice(&number.to_be_bytes());
        write_frame(out, key, &body_aad(id, FRAMES, number, frame.len()), number, frame)?;
        (rest, number) = (after, number + 1);
    }
    out.extend_from_slice(&FINAL);
    out.extend_from_slice(&number.to_be_bytes());
    // Its length stands between its IV and its text.
    let mut text = rest.to_vec();
    let iv = iv_of(number);
    let tag = seal(key, iv, &body_aad(id, LAST, number, rest.len()), &mut text)?;
    out.extend_from_slice(&iv);
    out.extend_from_slice(&(rest.len() as u32).to_be_bytes());
    out.extend_from_slice(&text);
    out.extend_from_slice(&tag);
    Ok(())
}

fn write_frame(
    out: &mut Vec<u8>,
    key: &LessSafeKey,
    aad: &[u8],
    number: u32,
    frame: &[u8],
) -> Result<(), Unspecified> {
    let mut text = frame.to_vec();
    let iv = iv_of(number);
    let tag = seal(key, iv, aad, &mut text)?;
    out.extend_from_slice(&iv);
    out.extend_from_slice(&text);
    out.extend_from_slice(&tag);
    Ok(())
}

// The header has number 0, frames begin at 1: no IV comes twice under a key.
fn iv_of(number: u32) -> [u8; IV] {
    let mut iv = [0; IV];
    iv[8..].copy_from_slice(&number.to_be_bytes());
    iv
}

// What the parts of a body are called where they are authenticated.
const FRAMES: &[u8] = b"AWSKMSEncryptionClient Frame";
const LAST: &[u8] = b"AWSKMSEncryptionClient Final Frame";
const SINGLE: &[u8] = b"AWSKMSEncryptionClient Single Block";

fn body_aad(id: &[u8], words: &[u8], number: u32, len: usize) -> Vec<u8> {
    [id, words, &number.to_be_bytes(), &(len as u64).to_be_bytes()].concat()
}

fn seal(
    key: &LessSafeKey,
    iv: [u8; IV],
    aad: &[u8],
    text: &mut [u8],
) -> Result<[u8; TAG], Unspecified> {
    let nonce = Nonce::assume_unique_for_key(iv);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(aad), text)?;
    tag.as_ref().try_into().map_err(|_| Unspecified)
}

/// What follows from a data key.
struct Keys {
    key: LessSafeKey,
    commitment: [u8; 32],
}

impl Keys {
    fn new(key: &[u8; 32], commitment: [u8; 32]) -> Result<Self, Unspecified> {
        Ok(Self { key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key)?), commitment })
    }
}

struct Len32;

impl hkdf::KeyType for Len32 {
    fn len(&self) -> usize {
        32
    }
}

// Of all suites with a key of 256 bits, by their numbers.
fn derive(suite: [u8; 2], data_key: &[u8], id: &[u8]) -> Result<Keys, Unspecified> {
    let (mut key, mut commitment) = ([0; 32], [0; 32]);
    let hash = match suite {
        [0x00, 0x78] => None,
        [0x01, 0x78] => Some(HKDF_SHA256),
        [0x03, 0x78] => Some(HKDF_SHA384),
        [0x04 | 0x05, 0x78] => {
            let base = Salt::new(HKDF_SHA512, id).extract(data_key);
            base.expand(&[&b"COMMITKEY"[..]], Len32)?.fill(&mut commitment)?;
            base.expand(&[&suite[..], &b"DERIVEKEY"[..]], Len32)?.fill(&mut key)?;
            return Keys::new(&key, commitment);
        }
        _ => return Err(Unspecified),
    };
    match hash {
        Some(hash) => {
            let base = Salt::none(hash).extract(data_key);
            base.expand(&[&suite[..], id], Len32)?.fill(&mut key)?;
        }
        None => key = data_key.try_into().map_err(|_| Unspecified)?,
    }
    Keys::new(&key, commitment)
}

/// A message that was read, and for whom it says that it is. It does not show itself.
pub struct Opened {
    pub provider: String,
    pub key_name: String,
    pub text: Vec<u8>,
}

/// The private key to a [`WrappingKey`]. It does not show itself.
pub struct UnwrappingKey(OaepPrivateDecryptingKey);

impl UnwrappingKey {
    /// Reads an RSA key in PKCS#8, or in PKCS#1.
    pub fn from_der(der: &[u8]) -> Result<Self, String> {
        let pkcs8: Option<Pkcs8V1Der<'static>> =
            RsaKeyPair::from_der(der).ok().and_then(|pair| pair.as_der().ok());
        PrivateDecryptingKey::from_pkcs8(pkcs8.as_ref().map_or(der, |key| key.as_ref()))
            .ok()
            .and_then(|key| OaepPrivateDecryptingKey::new(key).ok())
            .map(Self)
            .ok_or_else(|| "it takes an RSA key of 2048 bits and more".to_string())
    }

    fn unwrap(&self, wrapped: &[u8]) -> Option<Vec<u8>> {
        let mut out = vec![0; self.0.min_output_size()];
        let len = self.0.decrypt(&OAEP_SHA256_MGF1SHA256, wrapped, &mut out, None).ok()?.len();
        out.truncate(len);
        Some(out)
    }
}

/// Opens a message; `None` if it is of no suite that is known here, or not for this key, or was
/// changed.
pub fn decrypt(key: &UnwrappingKey, message: &[u8]) -> Option<Opened> {
    let mut at = Cursor { rest: message };
    let is_second = match at.take(1)? {
        [1] => (at.take(1)? == [0x80]).then_some(false)?,
        [2] => true,
        _ => return None,
    };
    let suite: [u8; 2] = at.take(2)?.try_into().ok()?;
    // The second format is that of the suites which commit to their key.
    (matches!(suite, [0x04 | 0x05, _]) == is_second).then_some(())?;
    let id = at.take(if is_second { 32 } else { 16 })?;
    let _context = at.short()?;
    (at.take(2)? == [0, 1]).then_some(())?;
    let (provider, key_name, wrapped) = (at.short()?, at.short()?, at.short()?);
    let form = at.take(1)?;
    if !is_second {
        (at.take(5)? == [0, 0, 0, 0, IV as u8]).then_some(())?;
    }
    let frame = usize::try_from(at.number()?).ok()?;
    let keys = derive(suite, &key.unwrap(wrapped)?, id).ok()?;
    if is_second {
        constant_time::verify_slices_are_equal(at.take(32)?, &keys.commitment).ok()?;
    }
    let header = &message[..message.len() - at.rest.len()];
    let iv: &[u8] = if is_second { &[0; IV] } else { at.take(IV)? };
    open(&keys.key, iv, header, at.take(TAG)?)?;
    let text = match form {
        [1] => open_single(&keys.key, id, &mut at)?,
        [2] => open_frames(&keys.key, id, frame, &mut at)?,
        _ => return None,
    };
    let name = |octets: &[u8]| String::from_utf8(octets.to_vec()).ok();
    Some(Opened { provider: name(provider)?, key_name: name(key_name)?, text })
}

fn open_frames(key: &LessSafeKey, id: &[u8], frame: usize, at: &mut Cursor<'_>) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    for number in 1_u32.. {
        let seen = at.take(4)?;
        let is_last = seen == FINAL;
        let seen = if is_last { at.take(4)? } else { seen };
        (seen == number.to_be_bytes()).then_some(())?;
        let iv = at.take(IV)?;
        let len = if is_last { usize::try_from(at.number()?).ok()? } else { frame };
        let sealed = at.take(len.checked_add(TAG)?)?;
        let words = if is_last { LAST } else { FRAMES };
        text.extend(open(key, iv, &body_aad(id, words, number, len), sealed)?);
        if is_last {
            break;
        }
    }
    Some(text)
}

fn open_single(key: &LessSafeKey, id: &[u8], at: &mut Cursor<'_>) -> Option<Vec<u8>> {
    let iv = at.take(IV)?;
    let len = u64::from_be_bytes(at.take(8)?.try_into().ok()?);
    let len = usize::try_from(len).ok()?;
    let sealed = at.take(len.checked_add(TAG)?)?;
    open(key, iv, &body_aad(id, SINGLE, 1, len), sealed)
}

fn open(key: &LessSafeKey, iv: &[u8], aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let nonce = Nonce::try_assume_unique_for_key(iv).ok()?;
    let mut text = sealed.to_vec();
    let len = key.open_in_place(nonce, Aad::from(aad), &mut text).ok()?.len();
    text.truncate(len);
    Some(text)
}

struct Cursor<'m> {
    rest: &'m [u8],
}

impl<'m> Cursor<'m> {
    fn take(&mut self, len: usize) -> Option<&'m [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    fn short(&mut self) -> Option<&'m [u8]> {
        let len = u16::from_be_bytes(self.take(2)?.try_into().ok()?);
        self.take(usize::from(len))
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::encoding::PublicKeyX509Der;
    use aws_lc_rs::rsa::KeySize;
    use rustls_pki_types::PrivateKeyDer;
    use rustls_pki_types::pem::PemObject;

    fn pair() -> (WrappingKey, UnwrappingKey) {
        let private = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let public: PublicKeyX509Der<'_> = private.public_key().as_der().unwrap();
        let secret: Pkcs8V1Der<'_> = private.as_der().unwrap();
        (
            WrappingKey::from_der(public.as_ref()).unwrap(),
            UnwrappingKey::from_der(secret.as_ref()).unwrap(),
        )
    }

    #[test]
    fn what_is_sealed_opens_and_what_was_changed_does_not() {
        let ((public, private), (_, other)) = (pair(), pair());
        let to = Recipient { provider: "DEMO", key_name: "DEMOKEY", key: &public };
        for suite in [Suite::Committed, Suite::CloudFront] {
            for len in [0, 1, 19, FRAME, FRAME + 1, 3 * FRAME, 16_384] {
                let text = vec![b'4'; len];
                let message = encrypt(suite, to, &text).unwrap();
                let opened = decrypt(&private, &message).unwrap();
                assert_eq!(
                    (opened.provider.as_str(), opened.key_name.as_str()),
                    ("DEMO", "DEMOKEY")
                );
                assert_eq!(opened.text, text);
            }
            let message = encrypt(suite, to, b"4111 1111 1111 1111").unwrap();
            assert!(decrypt(&other, &message).is_none());
            // The signature of 0x0378 is not what is checked here.
            let end = message.len() - if suite == Suite::CloudFront { 110 } else { 0 };
            for at in (0..end).step_by(7) {
                let mut changed = message.clone();
                changed[at] ^= 1;
                assert!(decrypt(&private, &changed).is_none(), "{suite:?} {at}");
                assert!(decrypt(&private, &message[..at]).is_none());
            }
        }
    }

    // Made by hand from the format's description and by the SDK, which opens each of them.
    #[test]
    fn messages_of_others_open() {
        let pem = include_bytes!("../../tests/vectors/fle-rsa2048-TEST-ONLY-private.pem");
        let der = PrivateKeyDer::from_pem_slice(pem).unwrap();
        let key = UnwrappingKey::from_der(der.secret_der()).unwrap();
        let all: Vec<serde_json::Value> =
            serde_json::from_str(include_str!("../../tests/vectors/fle-messages.json")).unwrap();
        assert_eq!(all.len(), 5);
        for one in all {
            let text = |name: &str| one[name].as_str().unwrap();
            let message = STANDARD.decode(text("field_base64")).unwrap();
            let opened = decrypt(&key, &message).unwrap_or_else(|| panic!("{one}"));
            assert_eq!(
                (opened.provider.as_str(), opened.key_name.as_str(), &opened.text[..]),
                (text("provider"), text("key_name"), text("plaintext").as_bytes())
            );
        }
    }

    #[test]
    fn a_committed_message_has_the_length_of_its_layout() {
        let (public, _) = pair();
        let to = Recipient { provider: "DEMO", key_name: "DEMOKEY", key: &public };
        let message = encrypt(Suite::Committed, to, b"4111 1111 1111 1111").unwrap();
        assert_eq!(message.len(), 424);
        assert_eq!(message[..3], [2, 4, 0x78]);
    }
}

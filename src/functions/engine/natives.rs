//! What the scripts of a realm call in Rust: the parts of the event, the log, digests and encodings.
//!
//! Octets go over as text of which each character is one octet. None of these functions panics, and
//! rquickjs would catch it before it came to C.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{
    GeneralPurpose, NO_PAD_INDIFFERENT, STANDARD, URL_SAFE_NO_PAD,
};
use md5::{Digest, Md5};
use rquickjs::{Ctx, Function, Object, Value};

use super::origin;
use super::reads::Reads;
use super::told::{Part, Told};
use super::watch::Watch;
use crate::functions::event::OriginChoice;

/// Octets of lines that one call may write; what is more is cut off.
const LOG_MAX: usize = 10 << 10;
/// Octets of the longest key that a store may have.
const KEY_MAX: usize = 512;
/// Bits beyond the last octet are ignored, as by Node.js.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    NO_PAD_INDIFFERENT.with_decode_allow_trailing_bits(true),
);

/// A question to the call's key value store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    Get(String),
    Exists(String),
    Meta,
}

/// What belongs to the call under way. There is never more than one in a realm.
#[derive(Default)]
pub struct State {
    pub watch: Watch,
    pub told: RefCell<Told>,
    pub reads: Reads,
    pub store: RefCell<Option<String>>,
    pub asks: RefCell<VecDeque<Ask>>,
    pub origin: RefCell<Option<OriginChoice>>,
    pub log: RefCell<Log>,
}

/// The lines that a call has written.
#[derive(Debug, Default)]
pub struct Log {
    pub lines: Vec<String>,
    octets: usize,
}

impl Log {
    fn add(&mut self, line: &str) {
        let left = LOG_MAX.saturating_sub(self.octets);
        if left == 0 {
            return;
        }
        let end = if line.len() <= left { line.len() } else { line.floor_char_boundary(left) };
        // A line end costs one as well, so empty lines are bounded, too.
        self.octets += end + 1;
        self.lines.push(line[..end].to_string());
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.lines.clear();
        self.octets = 0;
    }
}

/// The object that scripts know as `native`.
pub fn object<'js>(ctx: &Ctx<'js>, state: &Rc<State>) -> rquickjs::Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    add_call(ctx, state, &native)?;
    add_store(ctx, state, &native)?;
    let function = Function::new(ctx.clone(), |text: String| octets(text.as_bytes()))?;
    native.set("bytes", function)?;
    let function =
        Function::new(ctx.clone(), |of: String| String::from_utf8_lossy(&bytes(&of)).into_owned())?;
    native.set("utf8", function)?;
    let function = Function::new(ctx.clone(), |of: String, url: bool| {
        if url { URL_SAFE_NO_PAD.encode(bytes(&of)) } else { STANDARD.encode(bytes(&of)) }
    })?;
    native.set("base64", function)?;
    native.set("unbase64", Function::new(ctx.clone(), |text: String| octets(&unbase64(&text)))?)?;
    let of = Rc::clone(state);
    let function =
        Function::new(ctx.clone(), move |name: String, key: Option<String>, data: String| {
            // A call that is late fails whatever this gives.
            if of.watch.is_late() {
                return String::new();
            }
            let key = key.map(|key| bytes(&key));
            octets(&hashed(&name, key.as_deref(), &bytes(&data)))
        })?;
    native.set("digest", function)?;
    Ok(native)
}

fn add_call<'js>(ctx: &Ctx<'js>, state: &Rc<State>, native: &Object<'js>) -> rquickjs::Result<()> {
    let of = Rc::clone(state);
    let function = Function::new(ctx.clone(), move |part: i32| -> Option<String> {
        let part = Part::numbered(part)?;
        of.reads.note_all(part);
        of.told.borrow().part(part)
    })?;
    native.set("told", function)?;
    let of = Rc::clone(state);
    let function =
        Function::new(ctx.clone(), move |part: i32, name: Value<'js>| -> Option<String> {
            // What is no well-formed text is no name that was sent.
            let name = name.as_string()?.to_string().ok()?;
            let part = Part::numbered(part)?;
            of.reads.note_one(part, &name);
            of.told.borrow().one(part, &name)
        })?;
    native.set("one", function)?;
    let of = Rc::clone(state);
    native.set("late", Function::new(ctx.clone(), move || of.watch.is_late())?)?;
    let of = Rc::clone(state);
    native.set("varies", Function::new(ctx.clone(), move || of.reads.note_variance())?)?;
    let of = Rc::clone(state);
    let function = Function::new(ctx.clone(), move |line: String| {
        // Each call is to write its own.
        of.reads.note_variance();
        of.log.borrow_mut().add(&line);
    })?;
    native.set("log", function)
}

fn add_store<'js>(ctx: &Ctx<'js>, state: &Rc<State>, native: &Object<'js>) -> rquickjs::Result<()> {
    let of = Rc::clone(state);
    let function = Function::new(ctx.clone(), move || {
        // Which store it is and what it holds may be another thing for the next call.
        of.reads.note_variance();
        of.store.borrow().clone()
    })?;
    native.set("store", function)?;
    let of = Rc::clone(state);
    let function = Function::new(ctx.clone(), move |kind: i32, key: String| {
        of.reads.note_variance();
        // No store has an empty key: a key that is too long is not there either.
        let key = if key.len() > KEY_MAX { String::new() } else { key };
        let ask = match kind {
            0 => Ask::Get(key),
            1 => Ask::Exists(key),
            _ => Ask::Meta,
        };
        of.asks.borrow_mut().push_back(ask);
    })?;
    native.set("ask", function)?;
    let of = Rc::clone(state);
    let function =
        Function::new(ctx.clone(), move |kind: i32, given: String| {
            match origin::choice(kind, &given) {
                Ok(choice) => {
                    *of.origin.borrow_mut() = Some(choice);
                    None
                }
                Err(mistake) => Some(mistake),
            }
        })?;
    native.set("origin", function)
}

fn bytes(text: &str) -> Vec<u8> {
    // The scripts give characters up to 255 only; of others the low octet counts.
    text.chars().map(|letter| (letter as u32 & 0xff) as u8).collect()
}

fn octets(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

// Of either alphabet; what is of neither is left out, and the first padding ends it.
fn unbase64(text: &str) -> Vec<u8> {
    let mut plain: Vec<u8> = text
        .bytes()
        .take_while(|octet| *octet != b'=')
        .filter_map(|octet| match octet {
            b'-' => Some(b'+'),
            b'_' => Some(b'/'),
            b'+' | b'/' => Some(octet),
            octet if octet.is_ascii_alphanumeric() => Some(octet),
            _ => None,
        })
        .collect();
    if plain.len() % 4 == 1 {
        plain.pop();
    }
    LENIENT.decode(&plain).unwrap_or_default()
}

// `name` is md5, sha1 or sha256; the scripts let nothing else through.
fn hashed(name: &str, key: Option<&[u8]>, data: &[u8]) -> Vec<u8> {
    match (name, key) {
        ("md5", None) => Md5::digest(data).to_vec(),
        ("md5", Some(key)) => md5_mac(key, data),
        ("sha1", None) => digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, data).as_ref().to_vec(),
        ("sha1", Some(key)) => mac(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key, data),
        (_, None) => digest::digest(&digest::SHA256, data).as_ref().to_vec(),
        (_, Some(key)) => mac(hmac::HMAC_SHA256, key, data),
    }
}

fn mac(algorithm: hmac::Algorithm, key: &[u8], data: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(algorithm, key), data).as_ref().to_vec()
}

// HMAC (RFC 2104) with MD5, which aws-lc-rs does not have.
fn md5_mac(key: &[u8], data: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 64;
    let mut block = [0u8; BLOCK];
    if key.len() > BLOCK {
        let hashed = Md5::digest(key);
        block[..hashed.len()].copy_from_slice(&hashed);
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let padded = |pad: u8, rest: &[u8]| {
        let mut all: Vec<u8> = block.iter().map(|octet| octet ^ pad).collect();
        all.extend_from_slice(rest);
        Md5::digest(&all).to_vec()
    };
    padded(0x5c, &padded(0x36, data))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::sigv4::hex;

    // RFC 1321, RFC 2202, FIPS 180-2 and RFC 4231.
    #[test]
    fn digests_are_those_of_the_standards() {
        let jefe: Option<&[u8]> = Some(b"Jefe");
        let what: &[u8] = b"what do ya want for nothing?";
        let long = [0xaa; 80];
        let large: &[u8] = b"Test Using Larger Than Block-Size Key - Hash Key First";
        for (name, key, data, wanted) in [
            ("md5", None, &b"abc"[..], "900150983cd24fb0d6963f7d28e17f72"),
            ("md5", jefe, what, "750c783e6ab0b503eaa86e310a5db738"),
            ("md5", Some(&long[..]), large, "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd"),
            ("sha1", None, &b"abc"[..], "a9993e364706816aba3e25717850c26c9cd0d89d"),
            ("sha1", jefe, what, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
            (
                "sha256",
                None,
                &b"abc"[..],
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (
                "sha256",
                jefe,
                what,
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
        ] {
            assert_eq!(hex(&hashed(name, key, data)), wanted, "{name}");
        }
    }

    #[test]
    fn base64_is_taken_as_it_comes() {
        for (given, wanted) in [
            ("aGk=", "hi"),
            ("aGk", "hi"),
            ("a G\nk=", "hi"),
            ("_-8", "\u{ff}\u{ef}"),
            ("a", ""),
            ("aGk=aGk=", "hi"),
        ] {
            assert_eq!(octets(&unbase64(given)), wanted, "{given}");
        }
    }

    #[test]
    fn lines_are_cut_off() {
        let mut log = Log::default();
        log.add(&"\u{20ac}".repeat(4000));
        log.add("more");
        assert_eq!(log.lines.len(), 1);
        assert_eq!(log.lines[0].len(), 10_239);
        log.clear();
        (0..20_000).for_each(|_| log.add(""));
        assert_eq!(log.lines.len(), 10_240);
    }
}

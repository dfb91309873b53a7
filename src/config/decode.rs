//! The text of files as they come: UTF-8, with or without a byte order mark, and UTF-16, as
//! PowerShell writes it.

use std::io::{Error, ErrorKind, Result};
use std::path::Path;

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Reads a file of text; an error of kind `InvalidData` says which encoding it seems to have.
pub fn read_text(path: &Path) -> Result<String> {
    decode(std::fs::read(path)?).map_err(|why| Error::new(ErrorKind::InvalidData, why))
}

/// Reads a PEM file as octets that a PEM reader understands. What stands around the blocks may be
/// in any encoding.
pub fn read_pem(path: &Path) -> Result<Vec<u8>> {
    let octets = std::fs::read(path)?;
    Ok(decode(octets.clone()).map_or(octets, String::into_bytes))
}

/// All certificates of a PEM file; the error does not name the file.
pub fn certificates(path: &Path) -> std::result::Result<Vec<CertificateDer<'static>>, String> {
    let pem = read_pem(path).map_err(|error| error.to_string())?;
    CertificateDer::pem_slice_iter(&pem)
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())
}

/// The first private key of a PEM file; the error does not name the file.
pub fn private_key(path: &Path) -> std::result::Result<PrivateKeyDer<'static>, String> {
    key_of(&read_pem(path).map_err(|error| error.to_string())?)
}

// What a file holds in the place of a key says more than where a reader gave up.
fn key_of(pem: &[u8]) -> std::result::Result<PrivateKeyDer<'static>, String> {
    let has = |words: &[u8]| memchr::memmem::find(pem, words).is_some();
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        _ if has(b"ENCRYPTED") => "holds a key under a pass phrase, which nobody is here to give; \
             openssl pkey -in THIS -out NEW writes it without"
            .into(),
        pem::Error::NoItemsFound if has(b"BEGIN CERTIFICATE") => {
            "holds a certificate and no private key".into()
        }
        pem::Error::NoItemsFound if has(b"BEGIN PUBLIC KEY") => {
            "holds a public key and no private one".into()
        }
        pem::Error::NoItemsFound => {
            "holds no private key in PEM (-----BEGIN PRIVATE KEY-----)".into()
        }
        error => error.to_string(),
    })
}

/// Octets as text, without a byte order mark. UTF-16 is known by its mark, or by the zero beside
/// the first character.
pub fn decode(octets: Vec<u8>) -> std::result::Result<String, String> {
    let wide = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = rest.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        let text = String::from_utf16(&units).ok().filter(|_| rest.len().is_multiple_of(2));
        text.ok_or_else(|| {
            "this begins as UTF-16 and does not go on so; save it as UTF-8".to_string()
        })
    };
    match &octets[..] {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => {
            Err("this is UTF-32; save it as UTF-8".into())
        }
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [1..=255, 0, ..] => wide(&octets[..], u16::from_le_bytes),
        [0, 1..=255, ..] => wide(&octets[..], u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest.to_vec()),
        _ => utf8(octets),
    }
}

fn utf8(octets: Vec<u8>) -> std::result::Result<String, String> {
    String::from_utf8(octets).map_err(|error| {
        format!("this is not UTF-8 from octet {} on", error.utf8_error().valid_up_to())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(text: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(unit).collect()
    }

    #[test]
    fn text_is_the_same_in_every_encoding() {
        let text = "id = \"ü𝄞\"\n";
        let marked = format!("\u{feff}{text}");
        for octets in [
            text.as_bytes().to_vec(),
            marked.as_bytes().to_vec(),
            wide(&marked, u16::to_le_bytes),
            wide(&marked, u16::to_be_bytes),
            wide(text, u16::to_le_bytes),
            wide(text, u16::to_be_bytes),
        ] {
            assert_eq!(decode(octets.clone()).as_deref(), Ok(text), "{octets:x?}");
        }
        assert_eq!(decode(Vec::new()).as_deref(), Ok(""));
    }

    #[test]
    fn what_is_no_private_key_is_said() {
        let block = |name: &str, lines: &str| {
            format!("-----BEGIN {name}-----\n{lines}AAAA\n-----END {name}-----\n")
        };
        let old = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n";
        for (text, words) in [
            (block("EC PRIVATE KEY", old), "pass phrase"),
            (block("ENCRYPTED PRIVATE KEY", ""), "pass phrase"),
            (block("CERTIFICATE", ""), "a certificate and no private key"),
            (block("PUBLIC KEY", ""), "a public key"),
            ("\x30\x21".into(), "no private key in PEM"),
        ] {
            let said = key_of(text.as_bytes()).err().unwrap_or_default();
            assert!(said.contains(words), "{text}: {said}");
        }
        assert!(key_of(block("PRIVATE KEY", "").as_bytes()).is_ok());
    }

    #[test]
    fn what_is_no_text_says_so() {
        for (octets, word) in [
            (&[0xff, 0xfe, b'a', 0, b'b'][..], "UTF-16"),
            (&[0xff, 0xfe, 0, 0xd8][..], "UTF-16"),
            (&[0xff, 0xfe, 0, 0, b'a', 0, 0, 0][..], "UTF-32"),
            (&[b'a', 0xfc][..], "from octet 1 on"),
        ] {
            assert!(decode(octets.to_vec()).is_err_and(|why| why.contains(word)), "{octets:x?}");
        }
    }
}

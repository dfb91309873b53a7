//! Key value stores as a configuration names them, and how AWS names them: ids and ARNs.

use std::path::PathBuf;

use crate::crypto::sigv4::sha256;

/// The account that ARNs are of where the configuration names none. An SDK puts it before the endpoint's host, and
/// `000000000177.0.0.1` is 127.0.0.1, with the first number in octal.
pub const ACCOUNT: &str = "000000000177";

/// One `[key_value_store.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSpec {
    pub name: Box<str>,
    /// A UUID: what functions name it by.
    pub id: Box<str>,
    /// Where its values come from, and the only place to change them; `None`: the API alone fills
    /// it, and it is kept in the data folder.
    pub file: Option<PathBuf>,
}

/// Says whether a store may be called so: `[a-zA-Z0-9-_]{1,64}`.
pub fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(&octet))
}

/// Says whether this is a UUID in lower case, with its hyphens.
pub fn is_id(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, octet)| match at {
            8 | 13 | 18 | 23 => octet == b'-',
            _ => matches!(octet, b'0'..=b'9' | b'a'..=b'f'),
        })
}

/// The UUID of a store whose configuration gives it none: the same for the same name, on every edge.
pub fn id_of_name(name: &str) -> String {
    // Version 8: of one's own making.
    let hex = sha256(format!("foreshore key-value-store {name}").as_bytes());
    format!("{}-{}-8{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

/// The ARN of a store in an account.
pub fn arn(account: &str, id: &str) -> String {
    format!("arn:aws:cloudfront::{account}:key-value-store/{id}")
}

/// The id in an ARN, whatever its account.
pub fn id_of_arn(arn: &str) -> Option<&str> {
    let (account, id) =
        arn.strip_prefix("arn:aws:cloudfront::")?.split_once(":key-value-store/")?;
    let is_account = account.len() == 12 && account.bytes().all(|octet| octet.is_ascii_digit());
    (is_account && !id.is_empty()).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids() {
        let long = "a".repeat(64);
        for name in ["a", "Flags-1_b", &long] {
            assert!(is_name(name), "{name}");
            let id = id_of_name(name);
            assert!(is_id(&id), "{id}");
            assert_eq!(id_of_arn(&arn(ACCOUNT, &id)), Some(&id[..]));
        }
        assert_ne!(id_of_name("a"), id_of_name("b"));
        let longer = "a".repeat(65);
        for name in ["", "a b", "ü", "a.b", "a/b", &longer] {
            assert!(!is_name(name), "{name}");
        }
        for id in
            ["", "0B5F5F3E-0000-8000-8000-000000000000", "0b5f5f3e-0000-8000-8000-00000000000"]
        {
            assert!(!is_id(id), "{id}");
        }
        for wrong in [
            "x",
            "arn:aws:cloudfront::1:key-value-store/x",
            "arn:aws:cloudfront::000000000177:function/x",
        ] {
            assert_eq!(id_of_arn(wrong), None, "{wrong}");
        }
    }
}

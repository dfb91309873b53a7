//! How an imported file is known to be as the import left it: its first line holds a digest of the
//! others.

use crate::crypto::sigv4::sha256;

const MARK: &str =
    "# Written by `foreshore import`, which writes over this file only while it is unchanged: ";

/// The text with its seal as the first line.
pub fn sealed(text: &str) -> String {
    format!("{MARK}{}\n{text}", sha256(text.as_bytes()))
}

/// Says whether a sealed text is as it was written.
pub fn is_untouched(text: &str) -> bool {
    let parts = text.strip_prefix(MARK).and_then(|rest| rest.split_once('\n'));
    parts.is_some_and(|(digest, rest)| digest == sha256(rest.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_breaks_the_seal() {
        let text = sealed("a = 1\n");
        assert!(is_untouched(&text) && is_untouched(&sealed("")));
        for changed in [
            text.replace('1', "2"),
            text.clone() + "b = 1\n",
            "a = 1\n".to_string(),
            String::new(),
            format!("\n{text}"),
        ] {
            assert!(!is_untouched(&changed), "{changed}");
        }
    }
}

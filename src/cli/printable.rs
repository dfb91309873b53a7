//! Text from elsewhere on a terminal: nothing in it may do anything there, and what is only quoted
//! stays as it is.

/// `text` on one line, with what a terminal would obey or not show escaped; quotes are neither.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\'' | '"' => shown.push(letter),
            letter => shown.extend(letter.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_stay_and_what_a_terminal_obeys_goes() {
        for (text, shown) in [
            ("the fleet's \"one\"", "the fleet's \"one\""),
            ("{\"a\":\"ä\"}", "{\"a\":\"ä\"}"),
            ("a\nb\t\u{1b}[31m", "a\\nb\\t\\u{1b}[31m"),
            ("a\\nb", "a\\\\nb"),
            ("\u{202e}x", "\\u{202e}x"),
            ("", ""),
        ] {
            assert_eq!(printable(text), shown);
        }
    }
}

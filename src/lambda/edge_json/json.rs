//! Pure: texts as JSON, and names of fields as events have them.

/// Writes a text as JSON.
pub fn string(text: &str, out: &mut Vec<u8>) {
    // Writing to a vector does not fail, and texts are no maps with odd keys.
    let _ = serde_json::to_writer(out, text);
}

/// Writes a member that is not the first of its object.
pub fn member(name: &str, value: &str, out: &mut Vec<u8>) {
    out.push(b',');
    string(name, out);
    out.push(b':');
    string(value, out);
}

/// A field's name with a capital at the beginning of each word.
pub fn capitalised(name: &str) -> String {
    let mut begins = true;
    let each = name.chars().map(|c| {
        let capital = if begins { c.to_ascii_uppercase() } else { c };
        begins = c == '-';
        capital
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_and_words_have_capitals() {
        let mut out = Vec::new();
        string("a\"\n", &mut out);
        member("b", "\u{e9}", &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "\"a\\\"\\n\",\"b\":\"\u{e9}\"");
        assert_eq!(capitalised("x-amz-id-2"), "X-Amz-Id-2");
    }
}

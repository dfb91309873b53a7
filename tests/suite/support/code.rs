//! Rust sources as a few rules look at them: without comments, without what stands in quotes, and
//! without what only tests compile.

/// The code of a file that ships: comments, literals and items behind `#[cfg(test)]`, wherever they
/// stand, are blank. Lines stay where they are.
pub fn shipped(text: &str) -> String {
    const TEST: &[u8] = b"#[cfg(test)]";
    let mut code = without_literals(text.as_bytes());
    let mut from = 0;
    while let Some(at) = code[from..].windows(TEST.len()).position(|window| window == TEST) {
        let start = from + at;
        from = item_end(&code, start);
        blank(&mut code[start..from]);
    }
    String::from_utf8(code).expect("only whole characters are blanked")
}

/// Says whether code has a word, and not merely as a part of a longer one.
pub fn has_word(code: &str, word: &str) -> bool {
    let is_inside = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !(word.starts_with(is_inside) && before.is_some_and(is_inside)
            || word.ends_with(is_inside) && after.is_some_and(is_inside))
    })
}

/// The functions of formatted code, and how many lines each of them has.
pub fn functions(code: &str) -> Vec<(&str, usize)> {
    let lines: Vec<&str> = code.lines().map(str::trim_end).collect();
    let mut all = Vec::new();
    for (at, first) in lines.iter().enumerate() {
        let Some(name) = function_name(first.trim_start()) else { continue };
        let indent = first.len() - first.trim_start().len();
        // What is inside stands further to the right.
        let is_end = |line: &&str| {
            let own = line.get(indent..).unwrap_or("");
            own == "}" || own.starts_with(')') && own.ends_with(';')
        };
        let length = match first.ends_with(['}', ';']) {
            true => 1,
            false => 2 + lines[at + 1..].iter().position(is_end).unwrap_or(0),
        };
        all.push((name, length));
    }
    all
}

// Of the line that a function begins with.
fn function_name(line: &str) -> Option<&str> {
    const BEFORE: [&str; 7] =
        ["pub", "pub(super)", "pub(crate)", "const", "async", "unsafe", "extern"];
    let (before, after) = line.split_once("fn ")?;
    let is_item = before.split_whitespace().all(|word| BEFORE.contains(&word));
    after.split(['(', '<']).next().filter(|_| is_item)
}

fn blank(octets: &mut [u8]) {
    octets.iter_mut().filter(|octet| **octet != b'\n').for_each(|octet| *octet = b' ');
}

fn without_literals(text: &[u8]) -> Vec<u8> {
    let mut code = text.to_vec();
    let mut at = 0;
    while at < text.len() {
        let end = literal_end(text, at).unwrap_or(at);
        blank(&mut code[at..end]);
        at = end.max(at + 1);
    }
    code
}

// Where a comment, a string or a character ends that begins at `at`.
fn literal_end(text: &[u8], at: usize) -> Option<usize> {
    let rest = &text[at..];
    let found = |wanted: &[u8], from: usize| {
        let at = rest[from..].windows(wanted.len()).position(|window| window == wanted)?;
        Some(from + at + wanted.len())
    };
    let length = match rest {
        [b'/', b'/', ..] => rest.iter().position(|octet| *octet == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => found(b"*/", 2)?,
        [b'r', b'"' | b'#', ..] if at == 0 || !is_name(text[at - 1]) || text[at - 1] == b'b' => {
            let hashes = rest[1..].iter().take_while(|octet| **octet == b'#').count();
            let quote = 1 + hashes;
            if rest.get(quote) != Some(&b'"') {
                return None;
            }
            let end: Vec<u8> = std::iter::once(b'"').chain(vec![b'#'; hashes]).collect();
            found(&end, quote + 1)?
        }
        [b'"', ..] => {
            let mut end = 1;
            while rest.get(end).is_some_and(|octet| *octet != b'"') {
                end += if rest[end] == b'\\' { 2 } else { 1 };
            }
            end + 1
        }
        [b'\'', b'\\', _, ..] => found(b"'", 3)?,
        // One character and a quote; anything else is a lifetime.
        [b'\'', first, ..] => {
            let wide = (first.leading_ones() as usize).max(1);
            if rest.get(1 + wide) != Some(&b'\'') {
                return None;
            }
            wide + 2
        }
        _ => return None,
    };
    Some((at + length).min(text.len()))
}

const fn is_name(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || octet == b'_'
}

// Where an item ends whose attribute begins at `start`: behind its semicolon or its braces.
fn item_end(code: &[u8], start: usize) -> usize {
    let (mut brackets, mut braces) = (0_usize, 0_usize);
    for (at, octet) in code.iter().enumerate().skip(start) {
        match octet {
            b'(' | b'[' => brackets += 1,
            b')' | b']' => brackets = brackets.saturating_sub(1),
            b'{' => braces += 1,
            b'}' if braces <= 1 => return at + 1,
            b'}' => braces -= 1,
            b';' if braces == 0 && brackets == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

#[test]
fn what_ships_is_told_from_what_does_not() {
    let text = r##"
        // tokio in a comment
        /* tokio */ fn first<'a>(x: &'a str) -> char { if x == "tokio \" }" { '}' } else { '\'' } }
        #[cfg(test)]
        mod tests { fn tokio() { let _ = r#"} tokio "#; } }
        #[cfg(test)]
        mod tokio;
        #[cfg(test)]
        pub fn table() -> [u8; 3] { *b"tok" }
        fn last() { second(); }
    "##;
    let code = shipped(text);
    assert!(!code.contains("tok") && !code.contains("table"), "{code}");
    assert!(code.contains("fn first<'a>") && code.contains("fn last() { second(); }"), "{code}");
    assert_eq!(code.lines().count(), text.lines().count());
}

#[test]
fn functions_are_measured_with_their_signatures() {
    let text = "fn one() {}\n\
        trait T {\n    fn two(&self) -> u8;\n    fn three(\n        a: u8,\n    ) -> u8;\n}\n\
        impl S {\n    pub(super) const fn four<T>(\n        t: T,\n    ) -> T {\n\
        \x20       if let fn_x = t {\n        }\n    }\n\
        \x20   async fn five(&self) {\n        call(|| fn_y());\n    }\n}\n";
    let want = [("one", 1), ("two", 1), ("three", 3), ("four", 6), ("five", 3)];
    assert_eq!(functions(text), want);
}

#[test]
fn words_are_whole() {
    assert!(has_word("async fn f() {}", "async") && has_word("f().await?", ".await"));
    assert!(!has_word("is_async()", "async") && !has_word("asynchronous", "async"));
    assert!(has_word("tokio::spawn(f)", "spawn(") && !has_word("respawn(f)", "spawn("));
}

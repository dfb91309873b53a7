//! CloudFront's path patterns: `*` is any run of characters, `/` included, `?` is exactly one.
//!
//! The pattern is tested on the viewer's raw path, without its query. The shapes that nearly all
//! patterns have are answered without a glob engine.

use globset::{GlobBuilder, GlobMatcher};

/// A path pattern that compiled.
#[derive(Clone, Debug)]
pub struct PathPattern {
    text: String,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    Any,
    Exact(String),
    Prefix(String),
    Suffix(String),
    Glob(GlobMatcher),
}

impl PathPattern {
    /// Compiles a pattern; the error says what is wrong with it (CloudFront: "Cache behavior
    /// settings", path pattern).
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > 255 {
            return Err("a path pattern has 1 to 255 characters".into());
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.*$/~\"'@:+&?".contains(c);
        if let Some(c) = text.chars().find(|c| !allowed(*c)) {
            return Err(format!(
                "the character {c:?} is not allowed in a path pattern; allowed are A-Z a-z 0-9 _-.*$/~\"'@:+& and ?"
            ));
        }
        // A leading slash has no effect, on either side.
        let mut bare = text.strip_prefix('/').unwrap_or(text).to_string();
        // To a glob engine `**` is a word of its own; to CloudFront it is `*` twice, which is `*`.
        while bare.contains("**") {
            bare = bare.replace("**", "*");
        }
        let bare = bare.as_str();
        let plain = |t: &str| !t.contains(['*', '?']);
        let form = match (bare.strip_prefix('*'), bare.strip_suffix('*')) {
            _ if bare == "*" => Form::Any,
            _ if plain(bare) => Form::Exact(bare.to_string()),
            (_, Some(prefix)) if plain(prefix) => Form::Prefix(prefix.to_string()),
            (Some(suffix), _) if plain(suffix) => Form::Suffix(suffix.to_string()),
            _ => {
                let glob =
                    GlobBuilder::new(bare).literal_separator(false).backslash_escape(false).build();
                Form::Glob(glob.map_err(|error| error.to_string())?.compile_matcher())
            }
        };
        Ok(Self { text: text.to_string(), form })
    }

    /// Says whether a viewer's path (leading slash, no query) matches.
    pub fn matches(&self, path: &str) -> bool {
        let path = path.strip_prefix('/').unwrap_or(path);
        match &self.form {
            Form::Any => true,
            Form::Exact(text) => path == text,
            Form::Prefix(prefix) => path.starts_with(prefix.as_str()),
            Form::Suffix(suffix) => path.ends_with(suffix.as_str()),
            Form::Glob(glob) => glob.is_match(path),
        }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // The meaning, written the slow way, as a second opinion.
    fn reference(pattern: &[u8], path: &[u8]) -> bool {
        match pattern {
            [] => path.is_empty(),
            [b'*', rest @ ..] => (0..=path.len()).any(|at| reference(rest, &path[at..])),
            [b'?', rest @ ..] => !path.is_empty() && reference(rest, &path[1..]),
            [c, rest @ ..] => path.first() == Some(c) && reference(rest, &path[1..]),
        }
    }

    #[test]
    fn what_cloudfront_does_not_allow_is_refused() {
        for bad in ["", "a[b]", "a{b}", "a\\b", "a b", "ä"] {
            assert!(PathPattern::parse(bad).is_err(), "{bad}");
        }
    }

    // To a glob engine `**/` would match nothing at all.
    #[test]
    fn two_stars_are_one() {
        assert!(
            PathPattern::parse("**/").unwrap().matches("/a/")
                && !PathPattern::parse("**/").unwrap().matches("/")
        );
    }

    proptest! {
        #[test]
        fn every_form_means_the_same_as_the_definition(pattern in "/?[ab*?/.]{1,8}", path in "/[ab/.]{0,8}") {
            let compiled = PathPattern::parse(&pattern).unwrap();
            let bare = |t: &str| t.strip_prefix('/').unwrap_or(t).to_string();
            prop_assert_eq!(compiled.matches(&path), reference(bare(&pattern).as_bytes(), bare(&path).as_bytes()));
        }
    }
}

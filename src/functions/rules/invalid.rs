//! Pure: why a value that a function returned cannot be used, in CloudFront's words.

/// What is wrong with a returned value. The viewer is told [`Self::sentence`]; what stood there is
/// for the log alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// Where in the value, such as `response.headers`.
    pub path: String,
    /// What must be, to be read after the path: "must have header names in lower case".
    pub rule: String,
    /// What was there, cut off where it is long; empty where it may be a secret.
    pub found: String,
}

/// Octets of what was found that are written down.
const FOUND_MAX: usize = 120;

impl Invalid {
    /// A mistake at a place of the value.
    pub fn new(path: impl Into<String>, rule: impl Into<String>, found: &str) -> Self {
        let end = (0..=FOUND_MAX.min(found.len())).rev().find(|at| found.is_char_boundary(*at));
        let found = found[..end.unwrap_or(0)].to_string();
        Self { path: path.into(), rule: rule.into(), found }
    }

    /// What CloudFront shows in the place of an answer. A name in the path may be the viewer's own
    /// (of a parameter, of a cookie), and a page may be HTML.
    pub fn sentence(&self) -> String {
        let harmless = |c: char| {
            let is_harmless = c.is_ascii_alphanumeric() || " .,_-/()[]#\"".contains(c);
            if is_harmless { c } else { '?' }
        };
        let said: String = format!("{} {}", self.path, self.rule).chars().map(harmless).collect();
        format!("The CloudFront function returned an invalid value: {said}.")
    }

    /// The same with what was there, for the log.
    pub fn detail(&self) -> String {
        let Self { path, rule, found } = self;
        if found.is_empty() {
            return format!("{path} {rule}");
        }
        format!("{path} {rule}, and is {found:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_cloudfronts_sentence_and_nothing_of_what_was_found() {
        let rule = "must have header names in lower case";
        let invalid = Invalid::new("response.headers", rule, "<script>");
        assert_eq!(
            invalid.sentence(),
            "The CloudFront function returned an invalid value: response.headers must have header names in lower case."
        );
        assert!(invalid.detail().contains("<script>"));
        let named = Invalid::new("request.querystring.<script>&\u{e9}", "must be text", "1");
        assert!(named.sentence().contains("request.querystring.?script??? must be text."));
        // Cut off between characters.
        assert_eq!(Invalid::new("a", "b", &"ü".repeat(100)).found.len(), 120);
    }
}

//! The last resort of an import: lines that the configuration refuses although nothing here knew
//! better.
//!
//! Only lines go whose absence admits no more viewers and changes no answer's meaning beyond what
//! the report says of it.

use super::report::{Rank, Report, one_line};

/// What such a line begins with.
const MAY_GO: [&str; 22] = [
    "attempts = ",
    "comment = ",
    "compress = ",
    "content_security_policy = ",
    "content_type_options = ",
    "cors = ",
    "default_root_object = ",
    "frame_options = ",
    "headers = {",
    "ip = ",
    "origin_request_policy = ",
    "policy = ",
    "referrer_policy = ",
    "remove = ",
    "response_headers_policy = ",
    "server_timing = ",
    "standard = ",
    "strict_transport_security = ",
    "tag_header = ",
    "tags = {",
    "timeouts = ",
    "xss_protection = ",
];

/// Makes comments of the lines at these places, each given as an octet's offset, less `before`, and
/// what was said of it. False, with nothing changed, if a line must stay.
pub fn take_out(
    text: &mut String,
    before: usize,
    refused: &[(usize, String)],
    report: &mut Report,
) -> bool {
    let mut starts = Vec::new();
    for (place, why) in refused {
        let Some(place) = place.checked_sub(before).filter(|place| text.is_char_boundary(*place))
        else {
            return false;
        };
        let start = text[..place].rfind('\n').map_or(0, |end| end + 1);
        let line = text[start..].lines().next().unwrap_or("");
        if !MAY_GO.iter().any(|head| line.starts_with(head)) {
            return false;
        }
        starts.push((start, format!("{}: {}; left out", line.trim(), why)));
    }
    starts.sort();
    starts.dedup_by_key(|(start, _)| *start);
    // From the end, so that what stands before keeps its place.
    for (start, why) in starts.iter().rev() {
        report.add(Rank::BeforeServing, why);
        text.insert_str(*start, &format!("# {}\n# ", one_line(why)));
    }
    !starts.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_guards_is_never_taken_out() {
        let mut report = Report::default();
        let text =
            "[[distribution.behavior]]\npath = \"*\"\ntrusted_key_groups = [\"x\"]\nattempts = 9\n"
                .to_string();
        let at = |word: &str| (text.find(word).unwrap() + 7, "refused".to_string());
        let mut changed = text.clone();
        assert!(!take_out(
            &mut changed,
            5,
            &[at("attempts"), at("trusted")].map(|(place, why)| (place - 2, why)),
            &mut report
        ));
        assert_eq!(changed, text);
        assert!(take_out(&mut changed, 5, &[at("attempts"), at("attempts")], &mut report));
        assert!(
            changed.ends_with("# attempts = 9: refused; left out\n# attempts = 9\n"),
            "{changed}"
        );
        assert_eq!(report.of(Rank::BeforeServing).count(), 1);
    }
}

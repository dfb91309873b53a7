//! Pure: the file that a key value store is read from, imported from and exported to:
//! `{"data":[{"key":"…","value":"…"}]}` in UTF-8, as CloudFront imports it.

use serde::{Deserialize, Serialize};

use super::snapshot::{Pair, Values, tag};

/// Most octets of a file: a full store, with what JSON adds.
pub const FILE_MAX: usize = 12 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    data: Vec<One>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct One {
    key: String,
    value: String,
}

#[derive(Serialize)]
struct WholeOut<'v> {
    data: Vec<OneOut<'v>>,
}

#[derive(Serialize)]
struct OneOut<'v> {
    key: &'v str,
    value: &'v str,
}

/// Reads a file's octets. The error says what is wrong with it, and where.
pub fn parse(octets: &[u8]) -> Result<Vec<Pair>, String> {
    if octets.len() > FILE_MAX {
        return Err(format!("it has {} octets; it may have {FILE_MAX}", octets.len()));
    }
    let octets = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets);
    let text = std::str::from_utf8(octets)
        .map_err(|error| format!("it is not UTF-8 from octet {} on", error.valid_up_to()))?;
    let whole: Whole = serde_json::from_str(text).map_err(|error| {
        format!("it is not as {{\"data\":[{{\"key\":\"…\",\"value\":\"…\"}}]}}: {error}")
    })?;
    Ok(whole.data.into_iter().map(|one| (one.key, one.value)).collect())
}

/// What a file makes of a store: its pairs, with a tag of its octets. `created` and `updated` are
/// milliseconds since the epoch.
pub fn values(id: &str, octets: &[u8], (created, updated): (u64, u64)) -> Result<Values, String> {
    let pairs = parse(octets)?;
    Values::of_pairs(id, &pairs, tag("KV", octets), (created, updated))
        .map_err(|refused| refused.words())
}

/// A store as such a file, a key on a line.
pub fn write(values: &Values) -> String {
    let data: Vec<OneOut<'_>> = values.iter().map(|(key, value)| OneOut { key, value }).collect();
    let mut text = serde_json::to_string(&WholeOut { data }).unwrap_or_default();
    text = text.replace("},{\"key\":", "},\n{\"key\":");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn files_are_read_or_say_what_is_wrong() {
        let good = "\u{feff}{\"data\": [{\"key\": \"a\", \"value\": \"1\"}, {\"value\": \"\", \"key\": \"é/ü\"}]}";
        let pairs = parse(good.as_bytes()).unwrap();
        assert_eq!(pairs, [("a".into(), "1".into()), ("é/ü".into(), String::new())]);
        for (text, words) in [
            (
                &b"{\"data\":[{\"key\":\"a\",\"value\":\"1\"},{\"key\":\"a\",\"value\":\"2\"}]}"[..],
                "\"a\" is named more than once",
            ),
            (b"{\"data\":[{\"key\":\"a\",\"value\":1}]}", "line 1 column"),
            (b"{\"data\":[{\"key\":\"a\"}]}", "missing field `value`"),
            (b"{\"data\":[{\"key\":\"a\",\"value\":\"\",\"more\":1}]}", "unknown field"),
            (b"{\"a\":\"1\"}", "unknown field"),
            (b"", "EOF"),
            (b"\xff", "not UTF-8 from octet 0"),
            (b"{\"data\":[{\"key\":\"\",\"value\":\"1\"}]}", "a key is empty"),
        ] {
            let why = values("id", text, (0, 0)).unwrap_err();
            assert!(why.contains(words), "{why}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(pairs in proptest::collection::btree_map("[ -~é\",{}:]{1,9}", "[ -~\\n\",{}:]{0,9}", 0..9)) {
            let pairs: Vec<Pair> = pairs.into_iter().collect();
            let held = Values::restored("id", &pairs, (0, 0), 0).unwrap();
            prop_assert_eq!(parse(write(&held).as_bytes()).unwrap(), pairs);
        }

        #[test]
        fn anything_is_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = parse(&octets);
        }
    }
}

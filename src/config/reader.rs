//! Pure: a TOML table that is read key by key. Whatever was not asked for is unknown, and is
//! reported with the key that was probably meant. Reading never stops at a mistake: all of them are
//! collected.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use http::HeaderName;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::report::{Problem, Report, nearest};
use crate::base::share::Share;

/// Where problems are collected, and which keys exist.
#[derive(Default)]
pub struct Collector {
    pub report: RefCell<Report>,
    /// Every key that was asked for, by full name without indexes: what a file may hold.
    pub asked: RefCell<BTreeSet<String>>,
}

impl Collector {
    /// Reports a mistake at a place of a source.
    pub fn problem(
        &self,
        source: usize,
        span: &Range<usize>,
        title: impl Into<String>,
        help: impl Into<Option<String>>,
    ) {
        let (span, title, help) = (span.clone(), title.into(), help.into());
        self.report.borrow_mut().problems.push(Problem { source, span, title, help });
    }
}

/// A value with its place.
#[derive(Clone, Debug)]
pub struct Found<T> {
    pub value: T,
    pub span: Range<usize>,
}

/// A key of the operator's choice with its string, or with the table it holds.
pub type NamedValue<'c> = (Found<String>, Result<Found<String>, Table<'c>>);

/// A table being read.
pub struct Table<'c> {
    collector: &'c Collector,
    source: usize,
    span: Range<usize>,
    name: String,
    entries: Vec<(String, Range<usize>, Spanned<DeValue<'c>>)>,
    asked: RefCell<Vec<&'static str>>,
    /// The keys that were there and have been read.
    read: Vec<&'static str>,
}

/// Keys whose value is a secret that stands elsewhere.
const SECRETS: [&str; 7] =
    ["token", "secret", "password", "hmac", "session_token", "admin_token", "ticket_key"];

impl<'c> Table<'c> {
    /// A table of a file.
    pub fn new(
        collector: &'c Collector,
        source: usize,
        name: String,
        table: Spanned<DeTable<'c>>,
    ) -> Self {
        let span = table.span();
        let entries = table
            .into_inner()
            .into_iter()
            .map(|(key, value)| (key.get_ref().to_string(), key.span(), value))
            .collect();
        Self { collector, source, span, name, entries, asked: RefCell::default(), read: Vec::new() }
    }

    /// The table's own place.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Index of the file.
    pub const fn source(&self) -> usize {
        self.source
    }

    fn full(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_string() } else { format!("{}.{key}", self.name) }
    }

    /// Reports a mistake at a place of this file.
    pub fn problem(
        &self,
        span: &Range<usize>,
        title: impl Into<String>,
        help: impl Into<Option<String>>,
    ) {
        self.collector.problem(self.source, span, title, help);
    }

    /// Reports that a key must be there.
    pub fn missing(&self, key: &str, example: &str) {
        let head = self.span.start..self.span.start + 1;
        self.problem(
            &head,
            format!("{} is missing", self.full(key)),
            Some(format!("for example: {example}")),
        );
    }

    fn take(&mut self, key: &'static str) -> Option<Spanned<DeValue<'c>>> {
        self.asked.borrow_mut().push(key);
        self.collector.asked.borrow_mut().insert(self.full(key));
        let at = self.entries.iter().position(|(name, ..)| name == key)?;
        self.read.push(key);
        Some(self.entries.swap_remove(at).2)
    }

    fn wrong(&self, key: &str, span: &Range<usize>, value: &DeValue<'_>, expected: &str) {
        let kind = match value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a number",
            DeValue::Float(_) => "a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.problem(
            span,
            format!("{} is {kind}", self.full(key)),
            Some(format!("it must be {expected}")),
        );
    }

    /// A string.
    pub fn string(&mut self, key: &'static str) -> Option<Found<String>> {
        self.text(key, "a string in quotes")
    }

    fn text(&mut self, key: &'static str, expected: &str) -> Option<Found<String>> {
        let value = self.take(key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::String(text) => Some(Found { value: text.into_owned(), span }),
            other => {
                self.wrong(key, &span, &other, expected);
                None
            }
        }
    }

    /// A string that `read` understands; its error becomes the problem's text.
    pub fn parsed<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Found<T>> {
        self.understood(key, "a string in quotes", read)
    }

    fn understood<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Found<T>> {
        let found = self.text(key, expected)?;
        match read(&found.value) {
            Ok(value) => Some(Found { value, span: found.span }),
            Err(why) => {
                self.problem(
                    &found.span,
                    format!("{} = {:?}: {why}", self.full(key), found.value),
                    None,
                );
                None
            }
        }
    }

    /// One of a few words.
    pub fn word<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<Found<T>> {
        let all: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        let help = format!("one of {}", all.join(", "));
        let found = self.string(key)?;
        match words.iter().find(|(word, _)| *word == found.value) {
            Some((_, value)) => Some(Found { value: *value, span: found.span }),
            None => {
                self.problem(
                    &found.span,
                    format!("{} = {:?} is not known", self.full(key), found.value),
                    Some(help),
                );
                None
            }
        }
    }

    /// True or false.
    pub fn truth(&mut self, key: &'static str) -> Option<Found<bool>> {
        let value = self.take(key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::Boolean(value) => Some(Found { value, span }),
            other => {
                self.wrong(key, &span, &other, "true or false");
                None
            }
        }
    }

    /// A list of strings.
    pub fn strings(&mut self, key: &'static str) -> Option<Found<Vec<Found<String>>>> {
        let value = self.take(key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::Array(items) => Some(Found { value: self.string_items(key, items), span }),
            other => {
                self.wrong(key, &span, &other, "a list of strings");
                None
            }
        }
    }

    fn string_items(
        &self,
        key: &str,
        items: impl IntoIterator<Item = Spanned<DeValue<'c>>>,
    ) -> Vec<Found<String>> {
        let mut all = Vec::new();
        for item in items {
            let span = item.span();
            match item.into_inner() {
                DeValue::String(text) => all.push(Found { value: text.into_owned(), span }),
                other => {
                    self.wrong(key, &span, &other, "a list of strings, and this is an item of it")
                }
            }
        }
        all
    }

    /// A word or a list of strings: `"all"` or `["a", "b"]`.
    pub fn string_or_strings(
        &mut self,
        key: &'static str,
    ) -> Option<Found<Result<String, Vec<Found<String>>>>> {
        let value = self.take(key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::String(text) => Some(Found { value: Ok(text.into_owned()), span }),
            DeValue::Array(items) => {
                Some(Found { value: Err(self.string_items(key, items)), span })
            }
            other => {
                self.wrong(key, &span, &other, "a word or a list of strings");
                None
            }
        }
    }

    /// `true` or `false`.
    pub fn flag(&mut self, key: &'static str) -> Option<Found<bool>> {
        let value = self.take(key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::Boolean(value) => Some(Found { value, span }),
            other => {
                self.wrong(key, &span, &other, "true or false, without quotes");
                None
            }
        }
    }

    /// A duration such as `"10s"`, `"5m"`, `"24h"`, `"365d"`.
    pub fn duration(&mut self, key: &'static str) -> Option<Found<Duration>> {
        self.understood(key, "a time in quotes, such as \"10s\", \"5m\" or \"24h\"", parse_duration)
    }

    /// A size such as `"512KiB"`, `"4GiB"`.
    pub fn size(&mut self, key: &'static str) -> Option<Found<u64>> {
        self.understood(key, "a size in quotes, such as \"64MiB\" or \"4GiB\"", parse_size)
    }

    /// A whole number within bounds.
    pub fn number(&mut self, key: &'static str, least: u64, most: u64) -> Option<Found<u64>> {
        let value = self.take(key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::Integer(number) => {
                let read = u64::from_str_radix(number.as_str(), number.radix())
                    .ok()
                    .filter(|n| (least..=most).contains(n));
                if read.is_none() {
                    self.problem(
                        &span,
                        format!("{} lies outside {least} to {most}", self.full(key)),
                        None,
                    );
                }
                read.map(|value| Found { value, span })
            }
            other => {
                self.wrong(key, &span, &other, "a whole number");
                None
            }
        }
    }

    /// A share in percent: a number from 0 to 100, whole or not.
    pub fn percent(&mut self, key: &'static str) -> Option<Found<Share>> {
        let value = self.take(key)?;
        let span = value.span();
        let read = match value.into_inner() {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .ok()
                .and_then(|number| Share::of_percent(number as f64)),
            DeValue::Float(number) => number.as_str().parse().ok().and_then(Share::of_percent),
            other => {
                self.wrong(key, &span, &other, "a number from 0 to 100");
                return None;
            }
        };
        if read.is_none() {
            self.problem(&span, format!("{} lies outside 0 to 100", self.full(key)), None);
        }
        read.map(|value| Found { value, span })
    }

    /// Whole numbers in a list.
    pub fn numbers(&mut self, key: &'static str, least: u64, most: u64) -> Option<Found<Vec<u64>>> {
        let value = self.take(key)?;
        let span = value.span();
        let DeValue::Array(items) = value.into_inner() else {
            self.problem(&span, format!("{} must be a list of numbers", self.full(key)), None);
            return None;
        };
        let mut all = Vec::new();
        for item in items {
            let span = item.span();
            let number = match item.into_inner() {
                DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix())
                    .ok()
                    .filter(|n| (least..=most).contains(n)),
                _ => None,
            };
            match number {
                Some(number) => all.push(number),
                None => self.problem(
                    &span,
                    format!("an item of {} is no number from {least} to {most}", self.full(key)),
                    None,
                ),
            }
        }
        Some(Found { value: all, span })
    }

    /// A table inside this one.
    pub fn table(&mut self, key: &'static str) -> Option<Table<'c>> {
        let value = self.take(key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Some(Table::new(
                self.collector,
                self.source,
                self.full(key),
                Spanned::new(span, table),
            )),
            other => {
                let is_secret = SECRETS.contains(&key) && matches!(other, DeValue::String(_));
                let expected = if is_secret {
                    "named, not written: { file = \"FILE\" } or { env = \"NAME\" }"
                } else {
                    "a table"
                };
                self.wrong(key, &span, &other, expected);
                None
            }
        }
    }

    /// A list of tables, `[[key]]`.
    pub fn tables(&mut self, key: &'static str) -> Vec<Table<'c>> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let span = value.span();
        let DeValue::Array(items) = value.into_inner() else {
            self.problem(
                &span,
                format!("{} must be a list of tables", self.full(key)),
                Some(format!("write [[{}]]", self.full(key))),
            );
            return Vec::new();
        };
        let mut all = Vec::new();
        for item in items {
            let span = item.span();
            match item.into_inner() {
                DeValue::Table(table) => all.push(Table::new(
                    self.collector,
                    self.source,
                    self.full(key),
                    Spanned::new(span, table),
                )),
                other => self.wrong(key, &span, &other, "a table"),
            }
        }
        all
    }

    /// Tables under names of the operator's choice, `[key.NAME]`.
    pub fn named_tables(&mut self, key: &'static str) -> Vec<(Found<String>, Table<'c>)> {
        let Some(outer) = self.table(key) else { return Vec::new() };
        let (collector, source, name) = (outer.collector, outer.source, outer.name.clone());
        let mut all = Vec::new();
        for (inner, span, value) in outer.entries {
            let whole = value.span();
            match value.into_inner() {
                DeValue::Table(table) => {
                    let table = Table::new(
                        collector,
                        source,
                        format!("{name}.NAME"),
                        Spanned::new(whole, table),
                    );
                    all.push((Found { value: inner, span }, table));
                }
                _ => self.problem(&span, format!("{name}.{inner} must be a table"), None),
            }
        }
        all
    }

    /// Whatever keys there are with string or secret values: fields of an origin, for example.
    pub fn rest(mut self) -> Vec<NamedValue<'c>> {
        self.collector.asked.borrow_mut().insert(self.full("NAME"));
        let entries = std::mem::take(&mut self.entries);
        let mut all = Vec::new();
        for (key, span, value) in entries {
            let whole = value.span();
            let name = Found { value: key, span };
            match value.into_inner() {
                DeValue::String(text) => {
                    all.push((name, Ok(Found { value: text.into_owned(), span: whole })))
                }
                DeValue::Table(table) => {
                    let table = Table::new(
                        self.collector,
                        self.source,
                        self.full("NAME"),
                        Spanned::new(whole, table),
                    );
                    all.push((name, Err(table)));
                }
                other => self.wrong(&name.value, &whole, &other, "a string or a secret"),
            }
        }
        all
    }

    /// Says whether the file has a key here, read or not.
    pub fn has(&self, key: &str) -> bool {
        self.read.contains(&key) || self.entries.iter().any(|(name, ..)| name == key)
    }

    /// Reports whatever was not asked for.
    pub fn finish(self) {
        let asked = self.asked.borrow();
        for (key, span, _) in &self.entries {
            let help = match nearest(key, asked.iter().copied()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => {
                    let mut known = asked.clone();
                    known.sort_unstable();
                    known.dedup();
                    format!("known here: {}", known.join(", "))
                }
            };
            self.problem(span, format!("{} is not a known key", self.full(key)), Some(help));
        }
    }
}

/// What was probably meant by a name that is not known, or which names are.
pub fn suggest<'k>(
    found: &Found<String>,
    own: impl Iterator<Item = &'k str>,
    managed: &[&'k str],
) -> String {
    let all: Vec<&str> = own.chain(managed.iter().copied()).collect();
    match nearest(&found.value, all.iter().copied()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("known: {}", all.join(", ")),
    }
}

/// Reads the items of a list as names of fields; one that is none is reported and left out.
pub fn header_names(table: &Table<'_>, items: Vec<Found<String>>) -> Vec<HeaderName> {
    let mut all = Vec::new();
    for item in items {
        match HeaderName::from_bytes(item.value.as_bytes()) {
            Ok(name) => all.push(name),
            Err(_) => table.problem(&item.span, format!("{:?} is no field name", item.value), None),
        }
    }
    all
}

/// Reads a duration.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || {
        "a duration is a number and a unit, such as \"50ms\", \"10s\", \"5m\", \"24h\" or \"365d\""
            .to_string()
    };
    let at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let number: u64 = text[..at].parse().map_err(|_| wrong())?;
    let millis = match &text[at..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(wrong)
}

/// Reads a size.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong =
        || "a size is a number and a unit, such as \"512KiB\", \"64MiB\" or \"4GiB\"".to_string();
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..at].parse().map_err(|_| wrong())?;
    let unit: u64 = match &text[at..] {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes() {
        assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("50ms"), Ok(Duration::from_millis(50)));
        for bad in ["5", "m", "5 m", "-5s", "5w", "99999999999999999999s", ""] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_size("4GiB"), Ok(4 << 30));
        assert_eq!(parse_size("7"), Ok(7));
        for bad in ["4Gib", "x", "", "-1", "99999999999TiB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}

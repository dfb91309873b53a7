//! The code at the edge that ran for a request; for its record, no decision reads it.

use super::verdict::FunctionEnd;

/// Which code ran, how long, and what went wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// Its names, in the order in which it ran, with commas between.
    pub names: String,
    pub nanos: u64,
    /// Why one of them gave nothing usable.
    pub error: Option<String>,
    /// The same in CloudFront's words, of what runs at the origin.
    pub end: Option<FunctionEnd>,
}

impl Ran {
    /// Notes a call.
    pub fn add(&mut self, name: &str, nanos: u64) {
        if !self.names.is_empty() {
            self.names.push(',');
        }
        self.names.push_str(name);
        self.nanos = self.nanos.saturating_add(nanos);
    }

    /// Notes what ran after it.
    pub fn join(&mut self, later: Self) {
        if !later.names.is_empty() {
            self.add(&later.names, later.nanos);
        }
        if later.error.is_some() {
            (self.error, self.end) = (later.error, later.end);
        }
    }

    /// Microseconds of all of it.
    pub const fn micros(&self) -> u64 {
        self.nanos / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ran_is_named_in_order_with_the_last_error() {
        let mut ran = Ran::default();
        ran.add("a", 1500);
        ran.error = Some("first".into());
        ran.join(Ran { names: "b,c".into(), nanos: 1600, ..Ran::default() });
        assert_eq!((ran.names.as_str(), ran.micros()), ("a,b,c", 3));
        assert_eq!(ran.error.as_deref(), Some("first"));
        let end = Some(FunctionEnd::LambdaLimit);
        ran.join(Ran { error: Some("second".into()), end, ..Ran::default() });
        assert_eq!(ran.end, end);
        assert_eq!(ran.names, "a,b,c");
        assert_eq!(ran.error.as_deref(), Some("second"));
    }
}

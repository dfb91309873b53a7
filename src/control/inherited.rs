//! Pure: counters that go on over a change of process. What the processes before have counted is
//! added to what this one counts, in the text that both write.

use std::collections::HashMap;
use std::fmt;

/// What the processes before have counted.
#[derive(Default)]
pub struct Inherited {
    families: Vec<Family>,
}

struct Family {
    /// Its lines of help and type.
    header: String,
    name: String,
    is_counted: bool,
    samples: Vec<(String, Number)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Number {
    Whole(u64),
    Part(f64),
}

impl Number {
    fn parse(text: &str) -> Option<Self> {
        let whole = text.parse().map(Self::Whole);
        whole.or_else(|_| text.parse().map(Self::Part)).ok()
    }

    fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Whole(one), Self::Whole(two)) => Self::Whole(one.saturating_add(two)),
            (one, two) => Self::Part(one.float() + two.float()),
        }
    }

    fn float(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Part(part) => part,
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(whole) => write!(f, "{whole}"),
            Self::Part(part) => write!(f, "{part}"),
        }
    }
}

// A family begins with its help; what is no sample of one is left out.
fn families(text: &str) -> Vec<Family> {
    let mut all: Vec<Family> = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let name = rest.split(' ').next().unwrap_or_default().to_string();
            let (header, samples) = (format!("{line}\n"), Vec::new());
            all.push(Family { header, name, is_counted: false, samples });
            continue;
        }
        let Some(family) = all.last_mut() else { continue };
        if line.starts_with('#') {
            family.header.push_str(line);
            family.header.push('\n');
            family.is_counted |= line.ends_with(" counter") || line.ends_with(" histogram");
        } else if let Some((series, value)) = line.rsplit_once(' ')
            && let Some(value) = Number::parse(value)
        {
            family.samples.push((series.to_string(), value));
        }
    }
    all
}

impl Inherited {
    /// Reads what a process before wrote; what is as it is now, and is not counted, ends with it.
    pub fn read(text: &str) -> Self {
        let families = families(text).into_iter().filter(|family| family.is_counted).collect();
        Self { families }
    }

    /// Adds it to what this process writes.
    pub fn add_to(&self, text: String) -> String {
        if self.families.is_empty() {
            return text;
        }
        let mut before: HashMap<&str, &Family> =
            self.families.iter().map(|family| (family.name.as_str(), family)).collect();
        let mut out = String::with_capacity(text.len());
        for own in families(&text) {
            let inherited = before.remove(own.name.as_str()).filter(|_| own.is_counted);
            write(&own, inherited, &mut out);
        }
        let rest = self.families.iter().filter(|family| before.contains_key(family.name.as_str()));
        rest.for_each(|family| write(family, None, &mut out));
        out
    }
}

fn write(own: &Family, inherited: Option<&Family>, out: &mut String) {
    out.push_str(&own.header);
    let samples = inherited.map(|family| family.samples.as_slice()).unwrap_or_default();
    let mut before: HashMap<&str, Number> =
        samples.iter().map(|(series, value)| (series.as_str(), *value)).collect();
    for (series, value) in &own.samples {
        let value = before.remove(series.as_str()).map_or(*value, |more| value.plus(more));
        out.push_str(&format!("{series} {value}\n"));
    }
    for (series, value) in samples.iter().filter(|(series, _)| before.contains_key(&**series)) {
        out.push_str(&format!("{series} {value}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "# HELP a Of a.\n# TYPE a counter\na{x=\"1 2\"} 5\na{x=\"3\"} 7\n\
        # HELP g Now.\n# TYPE g gauge\ng 9\n\
        # HELP t Times.\n# TYPE t histogram\nt_bucket{le=\"+Inf\"} 4\nt_sum 1.5\nt_count 4\n\
        # HELP gone Once.\n# TYPE gone counter\ngone 3\n";

    #[test]
    fn what_is_counted_goes_on_and_what_is_now_does_not() {
        let own = "# HELP g Now.\n# TYPE g gauge\ng 1\n\
            # HELP t Times.\n# TYPE t histogram\nt_bucket{le=\"+Inf\"} 1\nt_sum 0.25\nt_count 1\n\
            # HELP a Of a.\n# TYPE a counter\na{x=\"1 2\"} 2\na{x=\"new\"} 1\n";
        let want = "# HELP g Now.\n# TYPE g gauge\ng 1\n\
            # HELP t Times.\n# TYPE t histogram\nt_bucket{le=\"+Inf\"} 5\nt_sum 1.75\nt_count 5\n\
            # HELP a Of a.\n# TYPE a counter\na{x=\"1 2\"} 7\na{x=\"new\"} 1\na{x=\"3\"} 7\n\
            # HELP gone Once.\n# TYPE gone counter\ngone 3\n";
        assert_eq!(Inherited::read(BEFORE).add_to(own.into()), want);
    }

    #[test]
    fn without_a_process_before_nothing_changes_and_two_before_add_up() {
        assert_eq!(Inherited::default().add_to(BEFORE.into()), BEFORE);
        let second = Inherited::read(BEFORE).add_to(BEFORE.into());
        let third = Inherited::read(&second).add_to(BEFORE.into());
        for line in ["a{x=\"3\"} 21\n", "\ng 9\n", "t_sum 4.5\n", "gone 9\n"] {
            assert!(third.contains(line), "{line}: {third}");
        }
    }
}

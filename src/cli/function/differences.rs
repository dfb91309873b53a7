//! Pure: what differs between two values, for people who look at what code changed.

use serde_json::Value;

/// What differs, a line for each place.
pub(super) fn differences(path: &str, before: &Value, after: &Value, all: &mut Vec<String>) {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        if before != after {
            all.push(format!("{path}: {before} -> {after}"));
        }
        return;
    };
    let below = |name: &str| {
        if path.is_empty() { name.to_string() } else { format!("{path}.{name}") }
    };
    for (name, value) in old {
        match new.get(name) {
            Some(now) => differences(&below(name), value, now, all),
            None => all.push(format!("{}: {value} is gone", below(name))),
        }
    }
    for (name, value) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
        all.push(format!("{}: {value} is new", below(name)));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_told_by_their_path() {
        let before = json!({ "a": { "b": 1, "c": 2, "d": [1] }, "e": "x" });
        let after = json!({ "a": { "b": 1, "c": 3, "f": null }, "e": "x" });
        let mut all = Vec::new();
        differences("", &before, &after, &mut all);
        assert_eq!(all, ["a.c: 2 -> 3", "a.d: [1] is gone", "a.f: null is new"]);
        all.clear();
        differences("", &before, &before, &mut all);
        assert!(all.is_empty());
    }
}

//! Rules of the house that no compiler knows: captions, and what the pure rooms must not touch.

use std::path::{Path, PathBuf};

fn files(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            files(&entry.path(), all);
        } else if entry.path().extension().is_some_and(|e| e == "rs") {
            all.push(entry.path());
        }
    }
}

fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&root, &mut all);
    all.into_iter()
        .map(|path| {
            (
                path.strip_prefix(&root).unwrap().display().to_string(),
                std::fs::read_to_string(&path).unwrap(),
            )
        })
        .collect()
}

#[test]
fn every_file_says_what_it_is_for() {
    for (name, text) in sources() {
        assert!(text.starts_with("//! ") || name == "lib.rs", "{name} has no caption");
    }
}

#[test]
fn the_pure_rooms_touch_nothing() {
    let pure = [
        "semantics/",
        "signature/",
        "distribution/",
        "exchange/",
        "cache/",
        "gate/",
        "deliver/",
        "cloudfront/",
    ];
    let forbidden = [
        "async fn",
        ".await",
        "tokio::",
        "hyper::",
        "std::net::Tcp",
        "std::fs",
        "Instant",
        "SystemTime",
        "std::env",
    ];
    for (name, text) in
        sources().into_iter().filter(|(name, _)| pure.iter().any(|room| name.starts_with(room)))
    {
        // Tests at the foot of a file may use what they like.
        let code = text.split("#[cfg(test)]").next().unwrap();
        for word in forbidden {
            let used = code
                .lines()
                .any(|line| line.contains(word) && !line.trim_start().starts_with("//"));
            assert!(!used, "{name} uses {word}");
        }
    }
}

#[test]
fn only_config_reads_toml_and_the_environment() {
    for (name, text) in sources()
        .into_iter()
        .filter(|(name, _)| !name.starts_with("config/") && !name.starts_with("cli/"))
    {
        let code = text.split("#[cfg(test)]").next().unwrap();
        assert!(!code.contains("toml::") && !code.contains("env::var"), "{name}");
    }
}

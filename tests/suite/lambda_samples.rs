//! The samples of Lambda@Edge functions, pasted line by line as `config/lambda/README.md` has them.

use super::support::tool::{self, Tool};
use super::support::tour::{Tour, copy};

/// The sample with its two origins.
fn begin(mut tour: Tour) -> Tour {
    for (usual, folder) in [(3000, "config/lambda/site"), (3001, "config/lambda/new")] {
        let port = tour.port(usual).to_string();
        let args = ["-m", "http.server", &port, "--bind", "127.0.0.1", "--directory", folder];
        tour.start("python3", &args);
    }
    let edge = ["run", "--quiet", "--config", "config/lambda.toml"];
    tour.start(env!("CARGO_BIN_EXE_foreshore"), &edge);
    tour.listens();
    tour
}

fn sample() -> Tour {
    Tour::new("lambda.toml", &[8080, 9080, 3000, 3001])
}

#[test]
fn the_samples_of_lambdas_do_what_their_page_says() {
    if !tool::have(&[tool::CURL, Tool::Program("node"), Tool::Program("python3")]) {
        return;
    }
    let compared = begin(sample()).paste("config/lambda/README.md", "sh tour");
    assert!(compared >= 9, "the page compares too little");
}

/// What `npm install` puts beside the sample.
const SHARP: [&str; 4] = ["sharp", "@img", "detect-libc", "semver"];

#[test]
fn images_are_scaled_as_the_page_says() {
    if !tool::have(&[tool::CURL, Tool::Package("sharp"), Tool::Program("python3")]) {
        return;
    }
    let tour = sample();
    for package in SHARP {
        let from = tool::folder().join("node/node_modules").join(package);
        if from.is_dir() {
            let to = tour.path().join("config/lambda/resize/node_modules").join(package);
            copy(&from, &to);
        }
    }
    let compared = begin(tour).paste("config/lambda/README.md", "sh resize");
    assert!(compared >= 8, "the page compares too little");
}

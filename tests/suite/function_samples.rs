//! The sample of code at the edge, pasted line by line as `config/FUNCTIONS.md` has it.

use super::support::tool;
use super::support::tour::Tour;

#[test]
fn the_samples_of_functions_do_what_their_page_says() {
    if !tool::have(&[tool::CURL]) {
        return;
    }
    let mut tour = Tour::new("functions.toml", &[8080, 9080]);
    let edge = ["run", "--quiet", "--config", "config/functions.toml"];
    tour.start(env!("CARGO_BIN_EXE_foreshore"), &edge);
    tour.listens();
    let compared = tour.paste("config/FUNCTIONS.md", "sh tour");
    assert!(compared >= 20, "the page compares too little");
}

//! The store and the bodies in it, under many orders in which their threads may come (shuttle).
//!
//! Their sources are compiled here once more, on locks and counters that hand over to another
//! thread wherever one could get in between. What a thread finds must hold in every order; a
//! failure prints the order it was found in.

// The tests of those sources come along and are not run here.
#![allow(dead_code, unused_imports)]

mod bodies;
mod in_memory;
mod on_disk;
pub mod sync;

#[path = "../../src/body/content.rs"]
pub mod content;
#[path = "../../src/store/disk/mod.rs"]
pub mod disk;
#[path = "../../src/body/growing.rs"]
mod growing;
#[path = "../../src/store/memory.rs"]
pub mod memory;
#[path = "../../src/body/whole.rs"]
mod whole;

// What those sources call by name.
pub use foreshore::body::{BodyError, Source, arena};
pub use foreshore::store::eviction;
pub use foreshore::{base, body, cache, distribution, message, semantics};

fn main() {
    // `ORDERS=100` tries so many times as many.
    let times: usize =
        std::env::var("ORDERS").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    // As the other tests have it: parts of names, of which one must be there.
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    for (name, world, orders) in [
        ("readers follow a writer, or see it break", bodies::readers_follow_a_writer as fn(), 3000),
        ("readers of a window", bodies::readers_of_a_window, 3000),
        ("the account of the memory is true", in_memory::the_account_is_true, 1500),
        ("what was taken out of memory is gone", in_memory::what_was_taken_out_is_gone, 1500),
        ("the disk shows nothing older than it has shown", on_disk::nothing_older_comes_back, 2000),
        ("the disk finds everything again", on_disk::everything_is_found_again, 2000),
        (
            "whatever was said last of a response stays said",
            on_disk::whatever_was_said_last_stays,
            2000,
        ),
    ] {
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part)) {
            continue;
        }
        let orders = orders * times;
        let began = std::time::Instant::now();
        shuttle::check_random(world, orders);
        // The other half by priorities: rare orders of few changes, which chance alone hardly
        // finds.
        shuttle::check_pct(world, orders, 3);
        println!("{name}: {} orders, {:.1} s", 2 * orders, began.elapsed().as_secs_f64());
    }
}

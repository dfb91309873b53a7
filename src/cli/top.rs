//! `foreshore top`: what a running edge does, in a terminal, once a second. The same facts as the
//! dashboard's, by the same call.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::admin_client::{Asker, DoorArgs};
use super::fail;
use super::printable::printable;

/// Every so many seconds the edge is asked for its state, too: that changes slowly.
const STATE_EVERY: u64 = 5;
/// Of the long lists of that state as much as is shown; of certificates the first that ends.
const STATE: &str = "/v1/status?most=5";
/// Letters of a URL, a pattern or a failure that are shown.
const WORDS_MAX: usize = 90;

#[derive(Args)]
pub(super) struct TopArgs {
    #[command(flatten)]
    door: DoorArgs,
    /// Print one snapshot and end; so it is where the output is no terminal.
    #[arg(long)]
    once: bool,
    /// Print the edge's own document instead, as JSON.
    #[arg(long, requires = "once")]
    json: bool,
    /// Rows of each table.
    #[arg(long, value_name = "N", default_value_t = 8)]
    rows: usize,
}

pub(super) fn top(args: &TopArgs) -> ExitCode {
    let asker = match Asker::new(&args.door) {
        Ok(asker) => asker,
        Err(why) => return fail(&why),
    };
    let done = if args.once || !std::io::stdout().is_terminal() {
        once(&asker, args)
    } else {
        Err(redraw(&asker, args.rows))
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(&why),
    }
}

fn once(asker: &Asker, args: &TopArgs) -> Result<(), String> {
    let now = asker.ask("GET", "/v1/snapshot", String::new())?;
    let text = if args.json {
        format!("{now}\n")
    } else {
        let state = asker.ask("GET", STATE, String::new())?;
        shown(&now, &Value::Null, &state, args.rows)
    };
    // A pipe whose reader has enough is no failure.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

// Until the terminal is gone; gives why. An edge that is away for a while is waited for.
fn redraw(asker: &Asker, rows: usize) -> String {
    let (mut before, mut state) = (Value::Null, Value::Null);
    for second in 0u64.. {
        let frame = match asker.ask("GET", "/v1/snapshot", String::new()) {
            Ok(now) => {
                if second.is_multiple_of(STATE_EVERY) {
                    state = asker.ask("GET", STATE, String::new()).unwrap_or(Value::Null);
                }
                let frame = shown(&now, &before, &state, rows);
                before = now;
                frame
            }
            Err(why) => format!("{why}\n"),
        };
        if let Err(error) = draw(&frame) {
            return error.to_string();
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    String::new()
}

// From the upper left corner, without clearing first, so that nothing flickers; long lines are not
// broken.
fn draw(frame: &str) -> std::io::Result<()> {
    let lines = frame.replace('\n', "\x1b[K\r\n");
    let mut out = std::io::stdout().lock();
    write!(out, "\x1b[?7l\x1b[H{lines}\x1b[J\x1b[?7h")?;
    out.flush()
}

// All of it as lines of text. `before` is the document of the second before, or null.
fn shown(now: &Value, before: &Value, state: &Value, rows: usize) -> String {
    let mut out = String::new();
    head(&mut out, now, state);
    out.push('\n');
    table(
        &mut out,
        &["behavior", "req/s", "requests", "hits", "4xx", "5xx", "origin"],
        behaviors(now, before, rows),
    );
    table(&mut out, &["origin", "address", "connections"], origins(now, rows));
    table(&mut out, &["parent", "weight", "state", "why"], parents(state, rows));
    let top = &now["top"];
    for (list, title) in [
        ("requests", "URLs by requests"),
        ("misses", "URLs by misses"),
        ("errors", "errors"),
        ("failures", "failures"),
    ] {
        table(&mut out, &[title, "count"], counted(&top[list], rows));
    }
    let (lines, read) = (count(&top["lines"]), count(&top["read"]));
    out += &format!("of {lines} requests since {}, {read} read\n", words(&top["since"]));
    out
}

fn head(out: &mut String, now: &Value, state: &Value) {
    let draining = if now["draining"] == true { ", draining" } else { "" };
    let (version, node) = (words(&now["version"]), words(&now["node"]));
    let up = span(count(&now["uptime_seconds"]));
    *out += &format!("foreshore {version} on {node}, up {up}{draining}\n");
    let rates = &now["rates"];
    let rate = |name: &str| rates[name].as_f64().unwrap_or(0.0);
    *out += &format!(
        "now        {:.1} requests/s, hits {}, {}/s, 4xx {:.1}/s, 5xx {:.1}/s, origin {}\n",
        rate("requests"),
        percent(rate("hits"), rate("hits") + rate("misses")),
        octets(rate("bytes")),
        rate("client_errors"),
        rate("server_errors"),
        origin_times(rates),
    );
    let total = &now["total"];
    let (hits, misses) = (number(&total["hits"]), number(&total["misses"]));
    *out += &format!(
        "in all     {} requests, hits {}, {}, broken off {}\n",
        count(&total["requests"]),
        percent(hits, hits + misses),
        octets(number(&total["bytes"])),
        count(&total["aborted"]),
    );
    let held = |what: &Value| {
        let (bytes, limit) = (octets(number(&what["bytes"])), octets(number(&what["limit"])));
        format!("{} responses, {bytes} of {limit}", count(&what["objects"]))
    };
    *out += &format!("memory     {}\n", held(&now["store"]));
    if now["disk"].is_object() {
        let failed = if now["disk"]["writing"] == false { ", not written to" } else { "" };
        *out += &format!("disk       {}{failed}\n", held(&now["disk"]));
    }
    let (connections, fills) = (count(&now["connections"]), count(&now["fills"]));
    *out += &format!("viewers    {connections} connections, {fills} fetches under way\n");
    concerns(out, state);
}

// What an operator is to do something about.
fn concerns(out: &mut String, state: &Value) {
    let days = list(&state["certificates"]).filter_map(|one| one["days_left"].as_u64()).min();
    if let Some(days) = days {
        *out += &format!("tls        the first certificate ends in {days} days\n");
    }
    for problem in list(&state["last_reload"]["problems"]) {
        *out += &format!("reload     refused: {}\n", words(problem));
    }
    for warning in list(&state["warnings"]) {
        *out += &format!("warning    {}\n", words(warning));
    }
    let left = count(&state["left"]["warnings"]);
    if left > 0 {
        *out += &format!("           and {left} more, which foreshore check tells\n");
    }
    if state["log"]["contested"] == true {
        *out += "log        another edge runs on a copy of this data folder\n";
    }
}

fn behaviors(now: &Value, before: &Value, most: usize) -> Vec<Vec<String>> {
    let seconds = (number(&now["at"]) - number(&before["at"])) / 1000.0;
    let named = |row: &Value| (row["distribution"].clone(), row["behavior"].clone());
    let one = |row: &Value| {
        let total = &row["total"];
        let known = list(&before["rows"]).find(|known| named(known) == named(row));
        let rate = known.filter(|_| seconds > 0.0).map(|known| {
            let gone = number(&total["requests"]) - number(&known["total"]["requests"]);
            format!("{:.1}", gone.max(0.0) / seconds)
        });
        let name = match row["distribution"].as_str() {
            Some("") | None => "(no distribution)".to_string(),
            Some(_) => format!("{} {}", words(&row["distribution"]), words(&row["behavior"])),
        };
        let (hits, misses) = (number(&total["hits"]), number(&total["misses"]));
        let asked = number(&total["origin_answers"]);
        let mean = (asked > 0.0).then(|| format!("{:.0} ms", number(&total["origin_ms"]) / asked));
        vec![
            name.trim_end().to_string(),
            rate.unwrap_or_else(|| "-".into()),
            count(&total["requests"]).to_string(),
            percent(hits, hits + misses),
            count(&total["statuses"][3]).to_string(),
            count(&total["statuses"][4]).to_string(),
            mean.unwrap_or_else(|| "-".into()),
        ]
    };
    list(&now["rows"]).take(most).map(one).collect()
}

fn origins(now: &Value, most: usize) -> Vec<Vec<String>> {
    let one = |origin: &Value| {
        vec![
            format!("{} {}", words(&origin["distribution"]), words(&origin["origin"])),
            words(&origin["url"]),
            format!("{} of {}", count(&origin["connections"]), count(&origin["limit"])),
        ]
    };
    list(&now["origins"]).take(most).map(one).collect()
}

fn parents(state: &Value, most: usize) -> Vec<Vec<String>> {
    let one = |parent: &Value| {
        vec![
            words(&parent["parent"]),
            count(&parent["weight"]).to_string(),
            words(&parent["condition"]),
            words(&parent["why"]),
        ]
    };
    list(&state["region"]).take(most).map(one).collect()
}

fn counted(top: &Value, most: usize) -> Vec<Vec<String>> {
    // A count that may be too high says so.
    let one = |entry: &Value| {
        let about = if count(&entry["over"]) > 0 { "at most " } else { "" };
        vec![words(&entry["key"]), format!("{about}{}", count(&entry["count"]))]
    };
    list(top).take(most).map(one).collect()
}

fn table(out: &mut String, head: &[&str], rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        return;
    }
    let head = head.iter().map(|name| (*name).to_string()).collect();
    let all: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let widest = |at: usize| all.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..all[0].len()).map(widest).collect();
    for row in &all {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        *out += cells.collect::<Vec<_>>().join("  ").trim_end();
        out.push('\n');
    }
    out.push('\n');
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0)
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

// Viewers have a say in these: nothing may reach the terminal that it would obey.
fn words(value: &Value) -> String {
    let said = value.as_str().unwrap_or("");
    let end = said.char_indices().nth(WORDS_MAX).map(|(at, _)| at);
    let mut shown = printable(&said[..end.unwrap_or(said.len())]);
    if end.is_some() {
        shown.push('…');
    }
    shown
}

fn percent(part: f64, whole: f64) -> String {
    if whole > 0.0 { format!("{:.1} %", part * 100.0 / whole) } else { "-".into() }
}

fn octets(count: f64) -> String {
    let units = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    match units.iter().find(|(size, _)| count >= *size) {
        Some((size, unit)) => format!("{:.1} {unit}", count / size),
        None => format!("{count:.0} B"),
    }
}

fn origin_times(rates: &Value) -> String {
    match (rates["origin_p50_ms"].as_u64(), rates["origin_p99_ms"].as_u64()) {
        (Some(half), Some(most)) => format!("p50 {half} ms, p99 {most} ms"),
        _ => "not asked".into(),
    }
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(at: u64, requests: u64) -> Value {
        json!({
            "at": at, "version": "0.1.0", "node": "edge-1", "uptime_seconds": 300, "draining": false,
            "connections": 3, "fills": 1,
            "store": { "bytes": 2_500_000, "limit": 268_435_456, "objects": 7 }, "disk": null,
            "rates": { "requests": 20.0, "bytes": 1500.0, "hits": 15.0, "misses": 5.0,
                       "client_errors": 0.0, "server_errors": 1.0, "origin_p50_ms": 10, "origin_p99_ms": 250 },
            "total": { "requests": requests, "hits": 30, "misses": 10, "bytes": 999, "aborted": 0 },
            "rows": [
                { "distribution": "E1", "behavior": "*", "total": { "requests": requests, "hits": 30, "misses": 10,
                  "statuses": [0, 39, 0, 0, 1], "origin_answers": 2, "origin_ms": 30 } },
                { "distribution": "", "behavior": "", "total": { "requests": 0, "statuses": [0, 0, 0, 0, 0] } },
            ],
            "origins": [{ "distribution": "E1", "origin": "o", "url": "http://o.test:80", "connections": 2, "limit": 64 }],
            "top": { "since": "2026-11-26T00:00:00.000Z", "lines": 40, "read": 40,
                     "requests": [{ "key": "h/a\u{1b}[2J", "count": 12, "over": 0 }],
                     "misses": [{ "key": "h/b", "count": 3, "over": 1 }], "errors": [], "failures": [] },
        })
    }

    #[test]
    fn all_that_is_known_is_shown() {
        let state = json!({
            "certificates": [{ "days_left": 80 }, { "days_left": 12 }],
            "last_reload": { "problems": ["edge.toml:3: no such origin"] },
            "warnings": ["an origin is asked in clear"], "left": { "warnings": 2 }, "log": { "contested": true },
            "region": [{ "parent": "https://p.test", "weight": 2, "condition": "ejected", "why": "slow" }],
        });
        let text = "foreshore 0.1.0 on edge-1, up 5 min\n\
                    now        20.0 requests/s, hits 75.0 %, 1.5 kB/s, 4xx 0.0/s, 5xx 1.0/s, origin p50 10 ms, p99 250 ms\n\
                    in all     40 requests, hits 75.0 %, 999 B, broken off 0\n\
                    memory     7 responses, 2.5 MB of 268.4 MB\n\
                    viewers    3 connections, 1 fetches under way\n\
                    tls        the first certificate ends in 12 days\n\
                    reload     refused: edge.toml:3: no such origin\n\
                    warning    an origin is asked in clear\n\
                    \x20          and 2 more, which foreshore check tells\n\
                    log        another edge runs on a copy of this data folder\n\
                    \n\
                    behavior           req/s  requests  hits    4xx  5xx  origin\n\
                    E1 *               15.0   40        75.0 %  0    1    15 ms\n\
                    (no distribution)  0.0    0         -       0    0    -\n\
                    \n\
                    origin  address           connections\n\
                    E1 o    http://o.test:80  2 of 64\n\
                    \n\
                    parent          weight  state    why\n\
                    https://p.test  2       ejected  slow\n\
                    \n\
                    URLs by requests  count\n\
                    h/a\\u{1b}[2J      12\n\
                    \n\
                    URLs by misses  count\n\
                    h/b             at most 3\n\
                    \n\
                    of 40 requests since 2026-11-26T00:00:00.000Z, 40 read\n";
        assert_eq!(shown(&document(3000, 40), &document(1000, 10), &state, 8), text);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let text = shown(&document(3000, 40), &Value::Null, &Value::Null, 1);
        assert!(text.contains("\nE1 *      -      40"), "{text}");
        assert!(!text.contains("(no distribution)") && !text.contains("tls"), "{text}");
        assert!(shown(&Value::Null, &Value::Null, &Value::Null, 8).contains("hits -"));
    }

    #[test]
    fn long_words_are_cut() {
        let long = words(&json!("ä".repeat(200)));
        assert_eq!(long.chars().count(), WORDS_MAX + 1);
    }
}

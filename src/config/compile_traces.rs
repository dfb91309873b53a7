//! `[traces]`: which requests are traced, and where their spans go.

use std::path::Path;
use std::time::Duration;

use super::compile_origin;
use super::reader::Table;
use super::scope::{Scope, networks};
use crate::distribution::host::parse_authority;
use crate::distribution::origin::{OriginTls, Roots, TlsVersion};
use crate::distribution::traces::{Collector, Traces, WHOLE};
use crate::trace::context::Formats;

/// Where an endpoint has no path of its own (OTLP, "OTLP/HTTP Request").
const USUAL_PATH: &str = "/v1/traces";
const USUAL_RATE: u32 = WHOLE / 100;
const USUAL_QUEUE: u64 = 8192;

/// Reads `[traces]`; `None` where there is none, or it cannot be used.
pub fn read(main: &mut Table<'_>, folder: &Path, scope: &mut Scope<'_>) -> Option<Traces> {
    let mut table = main.table("traces")?;
    if !table.has("endpoint") {
        table.missing("endpoint", "endpoint = \"http://127.0.0.1:4318\"");
    }
    let endpoint = table.parsed("endpoint", endpoint);
    let rate = table.parsed("rate", rate).map_or(USUAL_RATE, |found| found.value);
    let trusted = networks(&mut table, "trusted");
    let formats = formats(&mut table);
    let headers = compile_origin::headers(&mut table, folder, scope);
    let timeout = table.duration("timeout");
    if let Some(found) = timeout.as_ref().filter(|found| found.value.is_zero()) {
        table.problem(&found.span, "traces.timeout is zero: no batch could be in time", None);
    }
    let queue = table.number("queue", 1, 1_000_000).map_or(USUAL_QUEUE, |found| found.value);
    let service = table.string("service").map_or_else(|| "foreshore".into(), |found| found.value);
    let has_ca = table.has("ca");
    let roots = compile_origin::roots(&mut table, folder, &mut scope.files);
    if has_ca && let Some(found) = endpoint.as_ref().filter(|found| !found.value.is_tls) {
        table.problem(
            &found.span,
            "traces.ca is set, and the endpoint is asked in clear text",
            Some("use an https endpoint, or leave ca away".into()),
        );
    }
    table.finish();
    let Endpoint { host, port, path, is_tls } = endpoint?.value;
    let tls = is_tls.then(|| OriginTls {
        more_names: Vec::new(),
        roots: roots.unwrap_or(Roots::System),
        server_name: None,
        identity: None,
        min: TlsVersion::V1_2,
    });
    Some(Traces {
        collector: Collector { host, port, path, tls },
        rate,
        trusted,
        formats,
        headers,
        timeout: timeout.map_or(Duration::from_secs(5), |found| found.value),
        queue: usize::try_from(queue).unwrap_or(usize::MAX),
        service,
    })
}

struct Endpoint {
    host: String,
    port: u16,
    path: String,
    is_tls: bool,
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    let (rest, is_tls) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (rest, true),
        (_, Some(rest)) => (rest, false),
        _ => return Err("a collector is an http or https URL".into()),
    };
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let authority = parse_authority(authority).ok_or("this is no host with a port")?;
    if !path.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        return Err("this is no path of a URL".into());
    }
    let usual = if is_tls { 443 } else { 80 };
    Ok(Endpoint {
        host: authority.host.to_string(),
        port: authority.port.unwrap_or(usual),
        path: if path == "/" { USUAL_PATH } else { path }.to_string(),
        is_tls,
    })
}

// A share of one hundred, with four decimals at most: in millionths.
fn rate(text: &str) -> Result<u32, String> {
    let wrong = || "a rate is a share of the requests, such as \"5%\" or \"0.01%\"".to_string();
    let number = text.strip_suffix('%').ok_or_else(wrong)?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let is_number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > 3 || decimals.len() > 4 {
        return Err(wrong());
    }
    if !is_number(whole) || !is_number(decimals) {
        return Err(wrong());
    }
    let digits = format!("{whole}{decimals:0<4}");
    let rate: u32 = digits.parse().map_err(|_| wrong())?;
    if rate <= WHOLE { Ok(rate) } else { Err(wrong()) }
}

fn formats(table: &mut Table<'_>) -> Formats {
    let Some(list) = table.strings("propagate") else { return Formats { w3c: true, xray: false } };
    let mut formats = Formats { w3c: false, xray: false };
    for item in list.value {
        match item.value.as_str() {
            "w3c" => formats.w3c = true,
            "xray" => formats.xray = true,
            other => table.problem(
                &item.span,
                format!("{other:?} is no form of a trace"),
                Some("\"w3c\" (traceparent) or \"xray\" (X-Amzn-Trace-Id)".into()),
            ),
        }
    }
    formats
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_in_millionths() {
        for (text, expected) in [
            ("0%", Some(0)),
            ("1%", Some(10_000)),
            ("0.0001%", Some(1)),
            ("12.5%", Some(125_000)),
            ("100%", Some(WHOLE)),
            ("100.0001%", None),
            ("5", None),
            ("%", None),
            (".5%", None),
            ("-1%", None),
            ("0.00001%", None),
        ] {
            assert_eq!(rate(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn an_endpoint_has_otlps_path_unless_it_has_one_of_its_own() {
        let read = |text: &str| endpoint(text).map(|e| (e.host, e.port, e.path, e.is_tls)).ok();
        let usual = USUAL_PATH.to_string();
        assert_eq!(read("http://h:4318"), Some(("h".into(), 4318, usual.clone(), false)));
        assert_eq!(read("https://h/"), Some(("h".into(), 443, usual, true)));
        assert_eq!(read("http://h/x?y"), Some(("h".into(), 80, "/x?y".into(), false)));
        for bad in ["h:4318", "http://", "http://u@h", "http://h/a b", "ftp://h"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}

//! The dashboard: one page with its style and its script, all in the program. It loads nothing from
//! elsewhere and runs no script but its own. The page holds no data; what it shows it asks for by
//! calls that want a session.

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, StatusCode};

use super::answer::{Answer, error, typed};

const PAGE: &str = include_str!("dashboard/index.html");
const FILES: [(&str, &str, &str); 2] = [
    ("app.js", "text/javascript; charset=utf-8", include_str!("dashboard/app.js")),
    ("app.css", "text/css; charset=utf-8", include_str!("dashboard/app.css")),
];

/// What a browser is to let the page do.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; form-action 'none'; frame-ancestors 'none'; base-uri 'none'";

/// `GET /dashboard`.
pub fn page() -> Answer {
    guarded("text/html; charset=utf-8", PAGE)
}

/// `GET /dashboard/FILE`.
pub fn file(name: &str) -> Answer {
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, text)) => guarded(kind, text),
        None => error(StatusCode::NOT_FOUND, "the dashboard has no such file"),
    }
}

fn guarded(kind: &'static str, text: &str) -> Answer {
    let mut answer = typed(StatusCode::OK, kind, text.to_string());
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // Small, and of the program that runs now.
        (CACHE_CONTROL, "no-store"),
    ] {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_asks_nobody_else_and_has_no_script_of_its_own() {
        let all = [PAGE, FILES[0].2, FILES[1].2];
        for text in all {
            for word in ["//cdn", "https://", "@import", "url(", "eval(", "innerHTML", "onclick="] {
                assert!(!text.contains(word), "{word}");
            }
        }
        assert!(!PAGE.contains("<style") && !PAGE.contains(" style="));
        let scripts: Vec<&str> = PAGE.split("<script").skip(1).collect();
        assert!(scripts.len() == 1 && scripts[0].starts_with(" src=\"/dashboard/app.js\""));
        assert!(all.iter().map(|text| text.len()).sum::<usize>() < 150_000);
    }
}

//! `[[rest_api]]`: stages of API Gateway, and the distributions whose responses are their cache.

use super::reader::Table;
use crate::cache::invalidations::Matcher;
use crate::distribution::site::{Api, RestApi};

/// Reads all of them. A distribution that the API is yet to make may be named where there is
/// `[api]`.
pub fn read(main: &mut Table<'_>, distributions: &[&str], api: Option<&Api>) -> Vec<RestApi> {
    let mut all: Vec<RestApi> = Vec::new();
    for mut table in main.tables("rest_api") {
        let mut named = |key: &'static str, example: &str| {
            let found = table.string(key);
            if found.is_none() && !table.has(key) {
                table.missing(key, &format!("{key} = {example:?}"));
            }
            found
        };
        let (id, stage) = (named("id", "a1b2c3d4e5"), named("stage", "prod"));
        let distribution = named("distribution", "EDEMO");
        let path = table
            .parsed("path", |text| Matcher::parse(text).map(|_| text.to_string()))
            .map_or_else(|| "/*".into(), |found| found.value);
        if let Some(found) = &distribution
            && api.is_none()
            && !distributions.contains(&found.value.as_str())
        {
            let help = format!("one of {}", distributions.join(", "));
            let title = format!("there is no distribution {:?}", found.value);
            table.problem(&found.span, title, Some(help));
        }
        if let (Some(id), Some(stage), Some(distribution)) = (id, stage, distribution) {
            if all.iter().any(|one| one.id == id.value && one.stage == stage.value) {
                let title = format!("stage {:?} of {:?} is there twice", stage.value, id.value);
                table.problem(&stage.span, title, None);
            }
            all.push(RestApi {
                id: id.value,
                stage: stage.value,
                distribution: distribution.value,
                path,
            });
        }
        table.finish();
    }
    all
}

//! `[origin_names]`: where the hosts of origins are found that code or the API names.

use super::reader::Table;
use crate::distribution::origin_names::{OriginName, OriginNames};

/// Reads `[origin_names]`.
pub fn read(main: &mut Table<'_>) -> OriginNames {
    let Some(table) = main.table("origin_names") else { return OriginNames::default() };
    let mut all = Vec::new();
    for (name, value) in table.rest() {
        match value {
            Ok(found) => match OriginName::parse(&name.value, &found.value) {
                Ok(made) => all.push(made),
                Err(why) => main.problem(
                    &found.span,
                    format!("origin_names {:?} = {:?}: {why}", name.value, found.value),
                    Some(
                        "\"*.s3.eu-west-1.amazonaws.com\" = \"http://127.0.0.1:9000/*\""
                            .to_string(),
                    ),
                ),
            },
            Err(_) => main.problem(&name.span, "where a host is found is a URL", None),
        }
    }
    all.into_iter().collect()
}

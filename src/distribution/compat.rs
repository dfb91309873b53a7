//! What an edge looks like to viewers, origins and log readers: its own, or CloudFront's.

/// The face of a distribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compat {
    /// What X-Cache calls us: `foreshore` or `cloudfront`.
    pub name: String,
    /// The rest of CloudFront's face, where that is wanted (`compat = "cloudfront"`).
    pub cloudfront: Option<CloudFront>,
}

/// CloudFront's own fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudFront {
    /// The value of Via: `1.1 <32 hex digits>.cloudfront.net (CloudFront)`.
    pub via: String,
    /// The place, as `X-Amz-Cf-Pop` names it: `FRA56-C1`.
    pub pop: String,
}

impl Default for Compat {
    fn default() -> Self {
        Self { name: "foreshore".into(), cloudfront: None }
    }
}

/// Reads the name of a place: three letters, a number, and perhaps `-C1` or `-P4`.
pub fn parse_pop(text: &str) -> Result<String, String> {
    let (place, cluster) =
        text.split_once('-').map_or((text, None), |(place, cluster)| (place, Some(cluster)));
    let is_number = |text: &str| {
        !text.is_empty() && text.len() <= 3 && text.bytes().all(|b| b.is_ascii_digit())
    };
    let is_place = place.is_ascii()
        && place.len() > 3
        && place[..3].bytes().all(|b| b.is_ascii_uppercase())
        && is_number(&place[3..]);
    let is_cluster =
        cluster.is_none_or(|cluster| cluster.strip_prefix(['C', 'P']).is_some_and(is_number));
    if is_place && is_cluster {
        Ok(text.to_string())
    } else {
        Err("a place is three capitals and a number, such as \"FRA56-C1\"".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_written_as_cloudfront_writes_them() {
        for good in ["SEA19-C1", "LAX1", "FRA56-P4"] {
            assert!(parse_pop(good).is_ok(), "{good}");
        }
        for bad in ["", "FRA", "fra1", "FRA1-X1", "FRA1-", "FRAé", "FRA1-C"] {
            assert!(parse_pop(bad).is_err(), "{bad}");
        }
    }
}

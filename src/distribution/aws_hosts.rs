//! What the host names of AWS's services say: which service, in which region.

/// The service that is signed for, by the origin's name; an origin access control says it better.
pub fn service_of(domain: &str) -> &'static str {
    let has = |label: &str| domain.split('.').any(|part| part == label);
    match () {
        () if has("lambda-url") => "lambda",
        () if has("mediapackagev2") => "mediapackagev2",
        () if has("mediastore") => "mediastore",
        () => "s3",
    }
}

/// The region in the name of a bucket, or of another service of AWS's: the label between the
/// service's and `amazonaws.com`, or the one that hangs on `s3-`. `None` where the name has none,
/// as those of us-east-1 may be.
pub fn region_of(domain: &str) -> Option<&str> {
    let domain = domain.trim_end_matches('.');
    let labels: Vec<&str> = domain.split('.').collect();
    // Function URLs: ID.lambda-url.REGION.on.aws.
    if let Some(at) = labels.iter().rposition(|label| *label == "lambda-url") {
        return labels.get(at + 1).copied().filter(|label| is_region(label));
    }
    let end = labels.iter().rposition(|label| *label == "amazonaws")?;
    let before = &labels[..end];
    // A bucket may have any name, `s3` too: the last such label is the service's.
    let Some(at) = before.iter().rposition(|label| *label == "s3" || label.starts_with("s3-"))
    else {
        return before.last().copied().filter(|label| is_region(label));
    };
    let hung = before[at].strip_prefix("s3-").map(|rest| {
        rest.strip_prefix("website-").or_else(|| rest.strip_prefix("fips-")).unwrap_or(rest)
    });
    let hung = hung.filter(|label| is_region(label));
    hung.or_else(|| before[at + 1..].last().copied().filter(|label| is_region(label)))
}

/// Says whether a name is that of a bucket as S3 itself answers for it, and not of a website.
pub fn is_bucket(domain: &str) -> bool {
    let labels: Vec<&str> = domain.trim_end_matches('.').split('.').collect();
    let Some(end) = labels.iter().rposition(|label| *label == "amazonaws") else { return false };
    let is_s3 = |label: &&str| *label == "s3" || label.starts_with("s3-");
    // Without a label before it, it is the service alone.
    labels[..end]
        .iter()
        .rposition(is_s3)
        .is_some_and(|at| at > 0 && !labels[at].starts_with("s3-website"))
}

/// Such as eu-west-1, us-gov-east-1, ap-northeast-2: two letters, words, a number.
pub fn is_region(label: &str) -> bool {
    let parts: Vec<&str> = label.split('-').collect();
    let [land, .., number] = &parts[..] else { return false };
    let is_word = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    parts.len() >= 3
        && land.len() == 2
        && number.bytes().all(|b| b.is_ascii_digit())
        && !number.is_empty()
        && parts[..parts.len() - 1].iter().all(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_is_the_services_not_the_buckets() {
        for (domain, region) in [
            ("my-web-site.s3.us-west-2.amazonaws.com", Some("us-west-2")),
            ("my-web-site.s3-us-west-2.amazonaws.com", Some("us-west-2")),
            ("my-web-site.s3.amazonaws.com", None),
            ("eu-west-1.s3.amazonaws.com", None),
            ("eu-west-1.s3.ap-northeast-2.amazonaws.com", Some("ap-northeast-2")),
            ("s3.s3.us-gov-east-1.amazonaws.com", Some("us-gov-east-1")),
            ("a.s3-eu-west-1.b.s3.eu-central-1.amazonaws.com", Some("eu-central-1")),
            ("my.dotted.bucket.s3.dualstack.eu-north-1.amazonaws.com", Some("eu-north-1")),
            ("b.s3-fips.us-east-2.amazonaws.com", Some("us-east-2")),
            ("b.s3-fips-us-gov-west-1.amazonaws.com", Some("us-gov-west-1")),
            ("b.s3-website-sa-east-1.amazonaws.com", Some("sa-east-1")),
            ("b.s3-website.eu-west-3.amazonaws.com", Some("eu-west-3")),
            ("b.s3-accelerate.amazonaws.com", None),
            ("b.s3.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            ("s3-external-1.amazonaws.com", None),
            ("x.data.mediastore.eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("abc.lambda-url.us-east-1.on.aws", Some("us-east-1")),
            ("us-west-2.example.com", None),
            ("minio.internal", None),
        ] {
            assert_eq!(region_of(domain), region, "{domain}");
        }
    }
    #[test]
    fn buckets_are_told_from_websites_and_from_the_service() {
        for domain in [
            "b.s3.amazonaws.com",
            "b.s3.eu-west-1.amazonaws.com",
            "b.s3-eu-west-1.amazonaws.com",
            "my.dotted.bucket.s3.dualstack.eu-north-1.amazonaws.com",
            "b.s3.cn-north-1.amazonaws.com.cn",
            "s3.s3.us-east-1.amazonaws.com.",
        ] {
            assert!(is_bucket(domain), "{domain}");
        }
        for domain in [
            "s3.amazonaws.com",
            "s3.eu-west-1.amazonaws.com",
            "b.s3-website-sa-east-1.amazonaws.com",
            "b.s3-website.eu-west-3.amazonaws.com",
            "x.data.mediastore.eu-west-1.amazonaws.com",
            "abc.lambda-url.us-east-1.on.aws",
            "lb-1.us-east-1.elb.amazonaws.com",
            "b.s3.example.com",
            "minio.internal",
        ] {
            assert!(!is_bucket(domain), "{domain}");
        }
    }
}

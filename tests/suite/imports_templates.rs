//! Imports of what Terraform and CloudFormation have: documents in the shapes that people have them
//! in, each with what it becomes, what is told of it, and that it loads.

use std::path::Path;

use super::support::edge::command;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/imports");

/// What an import wrote and said.
struct Made {
    folder: tempfile::TempDir,
    toml: String,
    told: String,
}

// Imports one of the documents; what is written loads.
fn made(kind: &str, name: &str, more: &[&str]) -> Made {
    let folder = tempfile::tempdir().unwrap();
    let file = Path::new(FOLDER).join(name);
    let args = [&["import", kind, file.to_str().unwrap()][..], more].concat();
    let (code, _, told) = command(folder.path(), &args);
    assert_eq!(code, 0, "{name}: {told}");
    let toml = std::fs::read_to_string(folder.path().join("imported.toml")).unwrap();
    let (code, said, wrong) = command(folder.path(), &["check", "--config", "imported.toml"]);
    assert_eq!(code, 0, "{name}: {said}{wrong}\n{toml}");
    Made { folder, toml, told }
}

impl Made {
    fn has(&self, lines: &[&str]) {
        for line in lines {
            assert!(
                self.toml.lines().any(|known| known == *line),
                "{line} is not in\n{}",
                self.toml
            );
        }
    }

    fn tells(&self, parts: &[&str]) {
        for part in parts {
            assert!(self.told.contains(part), "{part} is not in\n{}", self.told);
        }
    }

    fn explained(&self, url: &str) -> String {
        command(self.folder.path(), &["explain", "--config", "imported.toml", url]).1
    }
}

#[test]
fn a_state_of_terraforms_has_all_of_its_distributions() {
    let made = made("terraform", "terraform-state.json", &[]);
    made.has(&[
        "id = \"EMAIN\"",
        "hosts = [\"www.example.com\", \"example.com\", \"d111111abcdef8.cloudfront.net\"]",
        "default_root_object = \"index.html\"",
        "tags = { \"team\" = \"edge\" }",
        "geo_restriction = { only = [\"DE\", \"FR\"] }",
        "url = \"https://app.example.net\"",
        "url = \"https://site.s3.eu-west-1.amazonaws.com/web\"",
        "members = [\"site\", \"app\"]",
        "path = \"/api/*\"",
        "methods = \"all\"",
        "cache_policy = \"static\"",
        "cache_policy = \"CachingDisabled\"",
        "cache_policy = \"CachingOptimized\"",
        "origin_request_policy = \"api\"",
        "response_headers_policy = \"security\"",
        "trusted_key_groups = [\"5f3c1f6a-0000-4000-8000-000000000004\"]",
        "keys = [\"K2READERS\"]",
        "add = [\"CloudFront-Viewer-Country\"]",
        "remove = [\"X-Powered-By\"]",
        "server_timing = 50",
        "page = \"/index.html\"",
        "policy = \"TLSv1.2_2021\"",
        "id = \"EASSETS\"",
        "hosts = [\"d222222abcdef8.cloudfront.net\"]",
        "url = \"https://assets.example.net\"",
    ]);
    assert!(made.toml.contains("\"X-Origin-Secret\" = \"do-not-tell\""), "{}", made.toml);
    assert!(made.toml.contains("query_except = [\"utm_source\"]"), "{}", made.toml);
    assert!(made.folder.path().join("K2READERS.pem").exists());
    made.tells(&[
        "EMAIN: WebACLId = arn:aws:wafv2",
        "EMAIN: certificate arn:aws:acm:us-east-1:111122223333:certificate/c1",
        "EMAIN: origin site: requests to it are signed at CloudFront (EOAC1)",
        "EMAIN: *: the viewer-response function arn:aws:cloudfront::111122223333:function/headers",
        "EASSETS: MinimumProtocolVersion = TLSv1: there is one policy for all distributions",
        "aws_cloudfront_function.headers: the function headers is not carried over",
        "aws_cloudfront_monitoring_subscription.main: its metrics are always there",
    ]);
    assert!(!made.told.contains("do-not-tell") && !made.told.contains(": not carried over"));
    // A key group closes what it closed, and the rest is open.
    assert!(made.explained("https://www.example.com/private/a").contains("refused: 403"));
    assert!(!made.explained("https://www.example.com/a").contains("refused"));
    assert!(!made.explained("https://d222222abcdef8.cloudfront.net/a").contains("refused"));
}

#[test]
fn one_distribution_of_several_is_named_by_its_id_or_address() {
    for name in ["EASSETS", "module.assets.aws_cloudfront_distribution.this[0]"] {
        let made = made("terraform", "terraform-state.json", &["--distribution", name]);
        made.has(&["id = \"EASSETS\""]);
        assert!(!made.toml.contains("EMAIN"), "{}", made.toml);
        made.tells(&["the distribution EMAIN is another one", "K2READERS is not used"]);
    }
    let folder = tempfile::tempdir().unwrap();
    let file = Path::new(FOLDER).join("terraform-state.json");
    let (code, _, told) = command(
        folder.path(),
        &["import", "terraform", file.to_str().unwrap(), "--distribution", "E3"],
    );
    assert!(code == 1 && told.contains("there is EMAIN, EASSETS"), "{told}");
}

#[test]
fn a_plan_finds_what_its_own_document_has() {
    let made = made("terraform", "terraform-plan.json", &[]);
    made.has(&[
        "id = \"cdn-this\"",
        "hosts = [\"shop.example.com\"]",
        "comment = \"shop\"",
        "url = \"https://shop-assets.s3.eu-central-1.amazonaws.com\"",
        "url = \"https://not-carried-over.invalid\"",
        "cache_policy = \"pages\"",
        "cache_policy = \"CachingOptimized\"",
        "trusted_key_groups = [\"aws_cloudfront_key_group.members\"]",
        "keys = [\"aws_cloudfront_public_key.member[\\\"a\\\"]\"]",
    ]);
    let distribution = "module.cdn.aws_cloudfront_distribution.this";
    made.tells(&[
        &format!("{distribution}.origin[1].domain_name: known after apply (aws_lb.app.dns_name)"),
        &format!("{distribution}.viewer_certificate[0].acm_certificate_arn: known after apply (aws_acm_certificate.shop.arn)"),
        "aws_cloudfront_public_key.member[\"a\"]: its id is known after apply",
        "origin bucket: requests to it are signed at CloudFront (aws_cloudfront_origin_access_control.bucket)",
    ]);
    assert_eq!(made.told.matches("known after apply (").count(), 2, "{}", made.told);
    // The place that is not known may be said.
    let made =
        self::made("terraform", "terraform-plan.json", &["--origin", "lb=http://127.0.0.1:3000"]);
    made.has(&["url = \"http://127.0.0.1:3000\""]);
}

#[test]
fn what_cdk_synthesises_is_read() {
    let given = ["--parameter", "AWS::Region=eu-west-1"];
    let made = made("cloudformation", "cdk.template.json", &given);
    made.has(&[
        "id = \"Cdn0A1B\"",
        "hosts = [\"docs.example.com\"]",
        "tags = { \"team\" = \"docs\" }",
        "default_root_object = \"index.html\"",
        "cache_policy = \"SitePages\"",
        "cache_policy = \"CachingDisabled\"",
        "origin_request_policy = \"AllViewerExceptHostHeader\"",
        "trusted_key_groups = [\"nobody\"]   # take this away to open it",
    ]);
    let site = "Resources.Cdn0A1B.Properties.DistributionConfig";
    made.tells(&[
        &format!("{site}.Origins[0].DomainName: known once deployed (SiteBucket397A1860.RegionalDomainName)"),
        &format!("{site}.Origins[1].DomainName: known once deployed (Api)"),
        &format!("{site}.ViewerCertificate.AcmCertificateArn: known once deployed (CertificateArn); say it with --parameter"),
        "the viewer-request function Rewrite9C does not run here",
        "Resources.Rewrite9C: the function is not carried over",
        "signed at CloudFront (CdnOrigin1S3OriginAccessControl7B1F)",
    ]);
    assert!(!made.told.contains("AWS::Region") && !made.told.contains("CDKMetadata"));
    assert!(!made.told.contains(": not carried over"), "{}", made.told);
}

#[test]
fn a_template_that_was_written_by_hand_is_read() {
    let given = ["--parameter", "Domain=example.com", "--parameter", "AWS::Region=eu-central-1"];
    let made = made("cloudformation", "site.yaml", &given);
    made.has(&[
        "id = \"Site\"",
        "comment = \"site of prod\"",
        "hosts = [\"example.com\", \"www.example.com\"]",
        "url = \"https://example-site-prod.s3.eu-central-1.amazonaws.com\"",
        "methods = [\"GET\", \"HEAD\", \"OPTIONS\"]",
        "response_headers_policy = \"site-headers\"",
        "ttl = { min = \"0s\", default = \"3600s\", max = \"86400s\" }",
        "strict_transport_security = { value = \"max-age=63072000; includeSubDomains\", override = \"origin\" }",
        "path = \"media/*\"",
    ]);
    let site = "Resources.Site.Properties.DistributionConfig";
    made.tells(&[
        "Resources.Twin: left out, because its condition IsTest is false",
        "Conditions.IsProd: true",
        "Resources.Metrics: its metrics are always there",
        &format!("{site}.Origins[1].DomainName: known once deployed (media-host)"),
        &format!("{site}.Origins[1].OriginCustomHeaders[0].HeaderValue: known once deployed (resolve:secretsmanager:site:SecretString:token)"),
        &format!("{site}.CacheBehaviors[0].SomethingNew.Mode = \"fast\": not carried over"),
        "(origin-access-identity/cloudfront/Identity)",
    ]);
    // The other stage has the other names and one host.
    let given = ["--parameter", "Domain=example.com", "--parameter", "Stage=test"];
    let folder = tempfile::tempdir().unwrap();
    let file = Path::new(FOLDER).join("site.yaml");
    let args = [&["import", "cloudformation", file.to_str().unwrap()][..], &given].concat();
    let (code, _, told) =
        command(folder.path(), &[&args[..], &["--distribution", "Site"]].concat());
    assert_eq!(code, 0, "{told}");
    for part in [
        "PriceClass = PriceClass_100",
        "known once deployed (AWS::Region); say it with --parameter AWS::Region=…",
        "the distribution Twin is another one",
        "Conditions.IsProd: false",
    ] {
        assert!(told.contains(part), "{part} is not in\n{told}");
    }
    let toml = std::fs::read_to_string(folder.path().join("imported.toml")).unwrap();
    assert!(toml.contains("\nhosts = [\"example.com\"]\n"), "{toml}");
}

#[test]
fn a_template_of_sams_is_read() {
    let made = made("cloudformation", "sam.yaml", &["--origin", "api=http://127.0.0.1:3000"]);
    made.has(&[
        "id = \"Front\"",
        "hosts = [\"api.example.com\", \"api.example.org\"]",
        "url = \"http://127.0.0.1:3000/v1\"",
        "methods = \"all\"",
        "cache_policy = \"CachingDisabled\"",
        "trusted_key_groups = [\"Keys\"]",
        "keys = [\"Key\"]",
    ]);
    assert!(made.folder.path().join("Key.pem").exists());
    made.tells(&[
        "Resources.Key: its id is known once it is deployed",
        "WebACLId = ${Acl.Arn}",
        "Resources.Front.Properties.DistributionConfig.WebACLId: known once deployed (Acl.Arn)",
    ]);
    assert!(made.explained("https://api.example.com/a").contains("refused: 403"));
}

#[test]
fn mistakes_are_told_and_nothing_is_written() {
    let file = |name: &str| Path::new(FOLDER).join(name).to_str().unwrap().to_string();
    let (state, cdk) = (file("terraform-state.json"), file("cdk.template.json"));
    let (site, sam) = (file("site.yaml"), file("sam.yaml"));
    let other = ["--origin", "other=http://127.0.0.1:1"];
    for (kind, file, more, why) in [
        ("terraform", &site, &[][..], "terraform show -json"),
        ("terraform", &cdk, &[], "no output of `terraform show -json`"),
        ("cloudformation", &state, &[], "this is no template"),
        ("cloudformation", &site, &["--parameter", "Nothing=1"], "there is no such parameter"),
        ("cloudformation", &site, &["--parameter", "Stage"], "NAME=VALUE"),
        ("cloudfront", &site, &[], "foreshore import cloudformation"),
        ("cloudformation", &sam, &other, "there is no such origin; there is api"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let args = [&["import", kind, file.as_str()][..], more].concat();
        let (code, _, told) = command(folder.path(), &args);
        assert!(code != 0 && told.contains(why), "{args:?}: {told}");
        assert!(!folder.path().join("imported.toml").exists(), "{args:?}");
    }
}

//! The AWS tools as they are, against the real binary: CLI, boto3, the JavaScript SDK and signer.

use std::path::Path;
use std::process::{Command, Output};

use super::support::origin::{answer, fresh};
use super::support::tool::{self, Tool};
use super::support::{Edge, Origin};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

// One of the tools, with the credentials of the tests and nothing else of the machine's.
fn aws(program: &Path, secret: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", secret)
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/nonexistent")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        .env("AWS_MAX_ATTEMPTS", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NODE_PATH", tool::folder().join("node/node_modules"));
    command
}

fn said(output: Output) -> Result<String, String> {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).trim().to_string();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn cli(edge: &Edge, secret: &str, args: &[&str]) -> Result<String, String> {
    let endpoint = format!("http://{}", edge.admin);
    let mut command = aws(&tool::folder().join("python/bin/aws"), secret);
    said(
        command
            .args(["--endpoint-url", &endpoint, "--output", "json", "cloudfront"])
            .args(args)
            .output()
            .unwrap(),
    )
}

fn script(program: &Path, name: &str, args: &[&str]) -> serde_json::Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/aws").join(name);
    let output = aws(program, SECRET).arg(path).args(args).output().unwrap();
    serde_json::from_str(&said(output).unwrap_or_else(|why| panic!("{name}: {why}"))).unwrap()
}

// An edge that takes calls signed with a key, with what the key may do.
fn edge_with_key(origin: &Origin, allow: &str) -> Edge {
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("secret"), SECRET).unwrap();
    let keys = format!(
        "[[admin.access_key]]\nid = \"AKIDEXAMPLE\"\nsecret = {{ file = \"secret\" }}\nallow = [{allow}]\n"
    );
    std::fs::write(
        folder.path().join("edge.toml"),
        super::support::edge::plain(origin.address, &keys),
    )
    .unwrap();
    Edge::start_in(folder)
}

#[test]
fn the_aws_cli_invalidates_lists_and_waits() {
    if !tool::have(&[Tool::Installed("aws")]) {
        return;
    }
    let origin = Origin::start(|_| fresh(b"x"));
    let edge = edge_with_key(&origin, "");
    assert_eq!(
        (edge.get("/img/a").cache(), edge.get("/img/a").cache()),
        ("Miss".into(), "Hit".into())
    );
    let made = cli(
        &edge,
        SECRET,
        &["create-invalidation", "--distribution-id", "E1", "--paths", "/img/*", "/a b/é"],
    )
    .unwrap();
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    assert_eq!(edge.get("/img/a").cache(), "Miss");
    let id = made["Invalidation"]["Id"].as_str().unwrap();
    assert!(
        made["Location"]
            .as_str()
            .unwrap()
            .ends_with(&format!("/2020-05-31/distribution/E1/invalidation/{id}"))
    );
    let began = std::time::Instant::now();
    cli(&edge, SECRET, &["wait", "invalidation-completed", "--distribution-id", "E1", "--id", id])
        .unwrap();
    assert!(
        began.elapsed().as_secs() < 20,
        "the waiter's first look is enough; it would look again after twenty seconds"
    );
    let got =
        cli(&edge, SECRET, &["get-invalidation", "--distribution-id", "E1", "--id", id]).unwrap();
    assert!(got.contains("Completed") && got.contains("/img/*"), "{got}");
    let batch = r#"{"Paths":{"Quantity":1,"Items":["/x"]},"CallerReference":"mine-1"}"#;
    cli(
        &edge,
        SECRET,
        &["create-invalidation", "--distribution-id", "E1", "--invalidation-batch", batch],
    )
    .unwrap();
    let listed =
        cli(&edge, SECRET, &["list-invalidations", "--distribution-id", "E1", "--page-size", "1"])
            .unwrap();
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["InvalidationList"]["Items"].as_array().map(Vec::len), Some(2), "{listed}");
    // After a restart it is known still.
    let edge = Edge::start_in(edge.kill());
    assert!(
        cli(&edge, SECRET, &["get-invalidation", "--distribution-id", "E1", "--id", id])
            .unwrap()
            .contains("/a b/")
    );
}

#[test]
fn who_may_not_is_told_as_aws_tells() {
    if !tool::have(&[Tool::Installed("aws")]) {
        return;
    }
    let origin = Origin::start(|_| fresh(b"x"));
    let edge = edge_with_key(&origin, "\"cloudfront:GetInvalidation\"");
    let create = ["create-invalidation", "--distribution-id", "E1", "--paths", "/*"];
    let refused = |secret: &str, more: &[&str]| {
        cli(&edge, secret, &[&create[..], more].concat()).unwrap_err()
    };
    assert!(refused(SECRET, &[]).contains("(AccessDenied)"));
    assert!(refused("wrong", &[]).contains("(SignatureDoesNotMatch)"));
    let anonymous = refused(SECRET, &["--no-sign-request"]);
    assert!(anonymous.contains("(MissingAuthenticationToken)"), "{anonymous}");
    assert!(
        cli(&edge, SECRET, &["get-invalidation", "--distribution-id", "E1", "--id", "INONE"])
            .unwrap_err()
            .contains("(NoSuchInvalidation)")
    );
    // Nothing of it reached the log, and no secret did either.
    assert_eq!(edge.metric("foreshore_invalidations_head") as u64, 0);
    assert!(!edge.log().contains(SECRET));
}

#[test]
fn the_sdks_agree() {
    if !tool::have(&[Tool::Module("boto3"), Tool::Package("@aws-sdk/client-cloudfront")]) {
        return;
    }
    let origin = Origin::start(|_| answer(200, "Cache-Control: max-age=600", b"x"));
    let edge = edge_with_key(&origin, "\"cloudfront:*\"");
    let endpoint = format!("http://{}", edge.admin);
    let seen =
        script(&tool::folder().join("python/bin/python"), "invalidate.py", &[&endpoint, "E1"]);
    assert_eq!(
        seen["again"], seen["first"],
        "the same reference and paths are the same invalidation"
    );
    let faults = |name: &str| {
        (seen[name][0].as_u64().unwrap_or(0), seen[name][1].as_str().unwrap_or("").to_string())
    };
    assert_eq!(faults("other"), (400, "InvalidArgument".into()));
    assert_eq!(faults("nowhere"), (404, "NoSuchDistribution".into()));
    assert_eq!(faults("bad"), (400, "InvalidArgument".into()));
    assert_eq!(faults("missing"), (404, "NoSuchInvalidation".into()));
    assert_eq!(seen["one"], serde_json::json!(["Completed", ["/a b/é", "#Tag:1"], "one"]));
    assert_eq!(
        seen["pages"],
        serde_json::json!([[seen["third"], seen["second"]], [seen["first"]]]),
        "newest first, two a page"
    );
    assert_eq!(seen["old"], serde_json::json!(["Completed", ["/e*"], true]), "by an older version");
    assert_eq!(seen["other shapes"], serde_json::json!(["UnsupportedOperation", true]));
    let js = script(Path::new("node"), "invalidate.cjs", &[&endpoint, "E1"]);
    assert_eq!(js["status"], "Completed");
    assert!(js["location"].as_str().unwrap().starts_with(&endpoint));
}

#[test]
fn boto3_manages_distributions() {
    if !tool::have(&[Tool::Module("boto3")]) {
        return;
    }
    let origin = Origin::start(|_| fresh(b"x"));
    let edge = managed(&origin);
    let (endpoint, port) = (format!("http://{}", edge.admin), origin.address.port().to_string());
    let pem = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/example-signer.pem");
    let python = tool::folder().join("python/bin/python");
    let seen = script(&python, "manage.py", &[&endpoint, &port, pem.to_str().unwrap()]);
    for kind in [
        "CachePolicy",
        "OriginRequestPolicy",
        "ResponseHeadersPolicy",
        "OriginAccessControl",
        "CloudFrontOriginAccessIdentity",
        "PublicKey",
        "Distribution",
    ] {
        assert_eq!(seen[kind], serde_json::json!([[], true]), "{kind}: {seen}");
    }
    let tag = |key: &str, value: &str| serde_json::json!([{ "Key": key, "Value": value }]);
    assert_eq!((&seen["tags"], &seen["tags later"]), (&tag("team", "edge"), &tag("b", "1")));
    assert_eq!(seen["listed"], serde_json::json!(["words & <more>"]));
    assert_eq!((&seen["users"], &seen["managed"]), (&true.into(), &true.into()));
    for (what, status, code) in [
        ("in use", 409, "CachePolicyInUse"),
        ("old", 412, "PreconditionFailed"),
        ("enabled", 409, "DistributionNotDisabled"),
        ("gone", 404, "NoSuchDistribution"),
    ] {
        assert_eq!(seen[what], serde_json::json!([status, code]), "{what}");
    }
    assert_eq!(seen["left"], 0, "{seen}");
}

#[test]
fn boto3_flushes_a_stage_and_signs_what_replaces() {
    if !tool::have(&[Tool::Module("boto3")]) {
        return;
    }
    let origin = Origin::start(|_| answer(200, "Cache-Control: max-age=600", b"x"));
    let edge = super::gateway::edge(&origin, "client_invalidation = { allow = \"access-key\" }\n");
    let (admin, viewer) = (format!("http://{}", edge.admin), format!("http://{}", edge.http));
    let python = tool::folder().join("python/bin/python");
    let seen = script(&python, "gateway.py", &[&admin, &viewer]);
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    for (what, want) in [
        ("flushed", r#"[202, ""]"#),
        ("after", r#"["Miss", "Hit"]"#),
        ("authorizers", r#"[202, ""]"#),
        ("kept", "\"Hit\""),
        ("no stage", r#"[404, "NotFoundException"]"#),
        ("no api", r#"[404, "NotFoundException"]"#),
        ("unsigned", r#"[200, "Hit", "199"]"#),
        ("wrong secret", r#"[200, "Hit", "199"]"#),
        ("wrong service", r#"[200, "Hit", "199"]"#),
        ("signed", r#"[200, "Miss", ""]"#),
        ("signed, not asked", r#"[200, "Hit", ""]"#),
        ("HEAD", r#"[200, "Miss", ""]"#),
    ] {
        assert_eq!(seen[what], json(want), "{what}: {seen}");
    }
}

#[test]
fn the_cli_flushes_a_stage() {
    if !tool::have(&[Tool::Installed("aws")]) {
        return;
    }
    let origin = Origin::start(|_| answer(200, "Cache-Control: max-age=600", b"x"));
    let edge = super::gateway::edge(&origin, "");
    assert_eq!([edge.get("/prod/a").cache(), edge.get("/prod/a").cache()], ["Miss", "Hit"]);
    let flushed = aws(&tool::folder().join("python/bin/aws"), SECRET)
        .args(["--endpoint-url", &format!("http://{}", edge.admin), "apigateway"])
        .args(["flush-stage-cache", "--rest-api-id", "a1b2c3", "--stage-name", "prod"])
        .output()
        .unwrap();
    assert_eq!(said(flushed), Ok(String::new()));
    assert_eq!(edge.get("/prod/a").cache(), "Miss");
}

#[test]
fn boto3_manages_field_level_encryption() {
    if !tool::have(&[Tool::Module("boto3")]) {
        return;
    }
    let origin = Origin::start(|_| fresh(b"x"));
    let edge = managed(&origin);
    let endpoint = format!("http://{}", edge.admin);
    let pem = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/example-fields.pem");
    let python = tool::folder().join("python/bin/python");
    let seen = script(&python, "forms.py", &[&endpoint, pem.to_str().unwrap()]);
    let illegal = "IllegalFieldLevelEncryptionConfigAssociationWithCacheBehavior";
    for (what, want) in [
        ("profile", serde_json::json!([true, true])),
        ("config", serde_json::json!([true, true])),
        ("only", "c".into()),
        ("profiles", serde_json::json!([["cards", "shop"]])),
        ("configs", serde_json::json!([["c", 1]])),
        ("updated", true.into()),
        ("id", true.into()),
    ] {
        assert_eq!(seen[what], want, "{what}: {seen}");
    }
    for (what, status, code) in [
        ("stale", 412, "PreconditionFailed"),
        ("other reference", 400, "IllegalUpdate"),
        ("no key", 404, "NoSuchPublicKey"),
        ("twice", 409, "FieldLevelEncryptionProfileAlreadyExists"),
        ("many patterns", 400, "TooManyFieldLevelEncryptionFieldPatterns"),
        ("overlap", 400, "InvalidArgument"),
        ("no profile", 404, "NoSuchFieldLevelEncryptionProfile"),
        ("config twice", 409, "FieldLevelEncryptionConfigAlreadyExists"),
        ("many arguments", 400, "TooManyFieldLevelEncryptionQueryArgProfiles"),
        ("empty argument", 400, "QueryArgProfileEmpty"),
        ("no config", 404, "NoSuchFieldLevelEncryptionConfig"),
        ("clear viewers", 400, illegal),
        ("clear origin", 400, illegal),
        ("no post", 400, illegal),
        ("config in use", 409, "FieldLevelEncryptionConfigInUse"),
        ("profile in use", 409, "FieldLevelEncryptionProfileInUse"),
        ("key in use", 409, "PublicKeyInUse"),
    ] {
        assert_eq!(seen[what], serde_json::json!([status, code]), "{what}: {seen}");
    }
    // It is obeyed: the name of the key is what messages name, and the profile as it was changed.
    let url = format!("https://{}/pay", seen["domain"].as_str().unwrap());
    let kind = "Content-Type: application/x-www-form-urlencoded";
    let args = ["explain", "--config", "edge.toml", "-X", "POST", "-H", kind, &url];
    let (code, told, why) = super::support::edge::command(edge.path(), &args);
    assert_eq!(code, 0, "{why}");
    let profile = &seen["profile id"];
    let want = format!("card*, cvc, iban encrypted by profile {profile}, suite 0x0478");
    assert!(told.contains(&want), "{want} is not in {told}");
}

// An edge that is managed by the API, by a key that may do everything.
fn managed(origin: &Origin) -> Edge {
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("secret"), SECRET).unwrap();
    let keys = "[api]\n[[admin.access_key]]\nid = \"AKIDEXAMPLE\"\nsecret = { file = \"secret\" }\nallow = [\"cloudfront:*\"]\n";
    let text = super::support::edge::plain(origin.address, keys);
    std::fs::write(folder.path().join("edge.toml"), text).unwrap();
    Edge::start_in(folder)
}

#[test]
fn boto3_tries_out_and_promotes() {
    if !tool::have(&[Tool::Module("boto3")]) {
        return;
    }
    let origin = Origin::start(|_| fresh(b"x"));
    let edge = Edge::start_in(super::control_plane::folder("certificates = \"any\"\n"));
    let (endpoint, port) = (format!("http://{}", edge.admin), origin.address.port().to_string());
    let python = tool::folder().join("python/bin/python");
    let seen = script(&python, "deploy.py", &[&endpoint, &port]);
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    for (what, want) in [
        ("copy", r#"[true, "old", true]"#),
        ("policy", "[true, true]"),
        ("listed", "true"),
        ("in use", r#"[409, "ContinuousDeploymentPolicyInUse"]"#),
        ("promoted", r#"["new", false, true, true]"#),
        ("off", "false"),
        ("conflicts", r#"[["www.example.com", true]]"#),
        ("without a web ACL", "true"),
        ("vpc", "0"),
        ("managed", r#"[404, "EntityNotFound"]"#),
        ("monitoring", "true"),
        ("monitored twice", r#"[409, "MonitoringSubscriptionAlreadyExists"]"#),
        ("unmonitored", r#"[404, "NoSuchMonitoringSubscription"]"#),
        ("left", "0"),
    ] {
        assert_eq!(seen[what], json(want), "{what}");
    }
}

#[test]
fn boto3_manages_functions() {
    if !tool::have(&[Tool::Module("boto3")]) {
        return;
    }
    let origin = Origin::start(|asked| fresh(asked.target.as_bytes()));
    let edge = managed(&origin);
    let (endpoint, port) = (format!("http://{}", edge.admin), origin.address.port().to_string());
    let python = tool::folder().join("python/bin/python");
    let seen = script(&python, "functions.py", &[&endpoint, &port]);
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    for (what, want) in [
        ("made", r#"["index", "UNPUBLISHED", "DEVELOPMENT", "a & <b>"]"#),
        ("location", "\"index\""),
        ("again", r#"[409, "FunctionAlreadyExists"]"#),
        ("unpublished", r#"[404, "NoSuchFunctionExists"]"#),
        ("bad", r#"[400, "InvalidArgument"]"#),
        ("large", r#"[413, "FunctionSizeLimitExceeded"]"#),
        ("tried", r#"["/one", ["saw /a"], "", true]"#),
        ("no event", r#"[400, "InvalidArgument"]"#),
        ("updated", r#"[["index", "UNPUBLISHED", "DEVELOPMENT", "second"], true, false]"#),
        ("stale", r#"[412, "PreconditionFailed"]"#),
        ("published", r#"["index", "UNASSOCIATED", "LIVE", "second"]"#),
        ("code", r#"[1, "application/octet-stream"]"#),
        ("associated", "true"),
        ("deployed", r#"["index", "DEPLOYED", "LIVE", "second"]"#),
        ("listed", r#"[["DEVELOPMENT"], ["LIVE"]]"#),
        ("in use", r#"[409, "FunctionInUse"]"#),
        ("gone", r#"[404, "NoSuchFunctionExists"]"#),
    ] {
        assert_eq!(seen[what], json(want), "{what}: {seen}");
    }
    let host = format!("Host: {}", seen["domain"].as_str().unwrap());
    assert_eq!(edge.get_with("/a", &[&host]).text(), "/two");
}

#[test]
fn the_cli_and_the_javascript_sdk_manage_functions() {
    let origin = Origin::start(|_| fresh(b"x"));
    let edge = managed(&origin);
    if tool::have(&[Tool::Installed("aws")]) {
        let code = edge.path().join("index.js");
        std::fs::write(&code, "function handler(event) { return event.request; }").unwrap();
        let file = format!("fileb://{}", code.display());
        let config = "Comment=cli,Runtime=cloudfront-js-2.0";
        let more = ["--function-config", config, "--function-code", &file];
        let run = |args: &[&str]| -> serde_json::Value {
            let args = [args, &["--name", "cli"][..]].concat();
            let said = cli(&edge, SECRET, &args).unwrap();
            serde_json::from_str(&said).unwrap_or_default()
        };
        let made = run(&[&["create-function"][..], &more].concat());
        let etag = |told: &serde_json::Value| told["ETag"].as_str().unwrap_or("").to_string();
        let first = etag(&made);
        let update = ["update-function", "--if-match", first.as_str()];
        let updated = run(&[&update[..], &more].concat());
        assert!(!etag(&updated).is_empty() && etag(&updated) != etag(&made), "{updated}");
        let published = run(&["publish-function", "--if-match", &etag(&updated)]);
        assert_eq!(published["FunctionSummary"]["FunctionMetadata"]["Stage"], "LIVE");
        run(&["delete-function", "--if-match", &etag(&updated)]);
        let listed = cli(&edge, SECRET, &["list-functions"]).unwrap();
        assert!(!listed.contains("\"cli\""), "{listed}");
    }
    if tool::have(&[Tool::Package("@aws-sdk/client-cloudfront")]) {
        let endpoint = format!("http://{}", edge.admin);
        let seen = script(Path::new("node"), "functions.cjs", &[&endpoint]);
        let want = serde_json::json!({ "etag": true, "uri": "/two", "stage": "LIVE", "code": true, "gone": "NoSuchFunctionExists" });
        assert_eq!(seen, want);
    }
}

// What the tools would never send.
#[test]
fn calls_that_are_wrong_are_answered_in_xml() {
    let origin = Origin::start(|_| fresh(b"x"));
    let edge = edge_with_key(&origin, "");
    let token = format!("Authorization: Bearer {}\r\n", edge.token());
    let path = "/2020-05-31/distribution/E1/invalidation";
    let batch = |quantity: u8| {
        format!(
            "<InvalidationBatch><Paths><Quantity>{quantity}</Quantity><Items><Path>/a</Path></Items></Paths>\
             <CallerReference>r{quantity}</CallerReference></InvalidationBatch>"
        )
    };
    let many: String = (0..3001).map(|at| format!("<Path>/{at}</Path>")).collect();
    let many = format!(
        "<InvalidationBatch><Paths><Quantity>3001</Quantity><Items>{many}</Items></Paths><CallerReference>m</CallerReference></InvalidationBatch>"
    );
    for (method, path, body, fields, status, code) in [
        ("POST", path, batch(1), &token[..], 201, "<Status>"),
        ("POST", path, String::new(), &token, 400, "MissingBody"),
        ("POST", path, batch(2), &token, 400, "InconsistentQuantities"),
        ("POST", path, "<a/>".into(), &token, 400, "MalformedXML"),
        ("POST", path, many, &token, 400, "TooManyInvalidationsInProgress"),
        ("POST", path, "x".repeat(2 << 20), &token, 413, "BatchTooLarge"),
        (
            "GET",
            "/2020-05-31/distribution/E1/invalidation?Marker=INONE",
            String::new(),
            &token,
            400,
            "InvalidArgument",
        ),
        (
            "GET",
            "/2020-05-31/distribution/E1/invalidation?MaxItems=0",
            String::new(),
            &token,
            400,
            "InvalidArgument",
        ),
        ("POST", "/2020-05-31/vpc-origin", String::new(), &token, 404, "UnsupportedOperation"),
        (
            "POST",
            "/2020-05-31/distribution-tenant/T/invalidation",
            batch(1),
            &token,
            404,
            "EntityNotFound",
        ),
        ("POST", path, batch(1), "", 403, "MissingAuthenticationToken"),
        ("POST", path, batch(1), "Authorization: Bearer wrong\r\n", 400, "IncompleteSignature"),
        (
            "POST",
            path,
            batch(1),
            "Authorization: AWS4-HMAC-SHA256 Credential=NOBODY/20261121/us-east-1/cloudfront/aws4_request, SignedHeaders=host;x-amz-date, Signature=0000000000000000000000000000000000000000000000000000000000000000\r\n",
            403,
            "InvalidClientTokenId",
        ),
    ] {
        let (got, said) = edge.admin_with(method, path, &body, fields);
        assert!(got == status && said.contains(code), "{method} {path}: {got} {said}");
    }
}

// What AWS's own signers make is let in.
#[test]
fn the_signers_are_believed() {
    if !tool::have(&[Tool::Package("@aws-sdk/cloudfront-signer")]) {
        return;
    }
    let origin = Origin::start(|_| fresh(b"private"));
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    std::fs::copy(vectors.join("rsa2048-public.pem"), folder.path().join("rsa.pem")).unwrap();
    std::fs::copy(vectors.join("ecdsa-p256-public.pem"), folder.path().join("ec.pem")).unwrap();
    let keys = "[[public_key]]\nid = \"KRSA\"\nfile = \"rsa.pem\"\n[[public_key]]\nid = \"KEC\"\nfile = \"ec.pem\"\n[key_group.all]\nkeys = [\"KRSA\", \"KEC\"]\n";
    let text =
        super::support::edge::plain(origin.address, keys) + "trusted_key_groups = [\"all\"]\n";
    std::fs::write(folder.path().join("edge.toml"), text).unwrap();
    let edge = Edge::start_in(folder);
    let host = format!("Host: {}", edge.http);
    let get = |target: &str, fields: &[&str]| {
        edge.get_with(target, &[&[&host[..]], fields].concat()).status
    };
    let at = format!("http://{}", edge.http);
    let until = "4102444800";
    assert_eq!(get("/img/a.jpg", &[]), 403);
    // The CLI: RSA over SHA-1, canned and custom.
    let key = format!("file://{}", vectors.join("rsa2048-TEST-ONLY-private.pem").display());
    let url = format!("{at}/img/a.jpg?size=large");
    for more in [&[][..], &["--ip-address", "127.0.0.1"], &["--date-greater-than", "2020-01-01"]] {
        let args = [
            &[
                "sign",
                "--url",
                &url,
                "--key-pair-id",
                "KRSA",
                "--private-key",
                &key,
                "--date-less-than",
                "2100-01-01",
            ],
            more,
        ]
        .concat();
        let signed = cli(&edge, SECRET, &args).unwrap();
        assert_eq!(get(signed.strip_prefix(&at).unwrap(), &[]), 200, "{signed}");
    }
    // The JavaScript signer: both kinds of key, both hashes.
    for (id, file) in
        [("KRSA", "rsa2048-TEST-ONLY-private.pem"), ("KEC", "ecdsa-p256-TEST-ONLY-private.pem")]
    {
        for hash in ["SHA1", "SHA256"] {
            let file = vectors.join(file);
            let url = format!("{at}/img/a.jpg");
            let made = script(
                Path::new("node"),
                "sign.cjs",
                &[&url, id, file.to_str().unwrap(), until, hash],
            );
            for name in ["url", "wide"] {
                let signed = made[name].as_str().unwrap();
                assert_eq!(
                    get(signed.strip_prefix(&at).unwrap(), &[]),
                    200,
                    "{id} {hash} {signed}"
                );
            }
            let text = |value: &serde_json::Value| {
                value.as_str().map_or_else(|| value.to_string(), String::from)
            };
            let pairs: Vec<String> = made["cookies"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| format!("{name}={}", text(value)))
                .collect();
            assert_eq!(
                get("/img/another.jpg", &[&format!("Cookie: {}", pairs.join("; "))]),
                200,
                "{id} {hash} cookies"
            );
        }
    }
}

// The sample of a members' area, as its first lines say.
#[test]
fn members_log_in_and_see_private_pictures() {
    if !tool::have(&[tool::CURL, Tool::Program("python3")]) {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let port = super::support::free_port();
    let site = root.join("config/members/site").display().to_string();
    let text = std::fs::read_to_string(root.join("config/members.toml"))
        .unwrap()
        .replace("data = \"../.foreshore/members\"", "data = \"data\"")
        .replace(
            "http = [\"127.0.0.1:8080\"]",
            "http = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"",
        )
        .replace(
            "example-signer.pem",
            &root.join("config/example-signer.pem").display().to_string(),
        )
        .replace("file:members/site", &format!("file:{site}"))
        .replace("127.0.0.1:9300", &format!("127.0.0.1:{port}"));
    std::fs::write(folder.path().join("edge.toml"), text).unwrap();
    let edge = Edge::start_in(folder);
    let at = format!("http://{}", edge.http);
    let mut login = Command::new("python3")
        .arg(root.join("config/members/login.py"))
        .env("PORT", port.to_string())
        .env("SITE", &at)
        .env("FORESHORE", env!("CARGO_BIN_EXE_foreshore"))
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    super::support::eventually("the application listens", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    let jar = edge.path().join("jar").display().to_string();
    let picture = format!("{at}/members/picture.svg");
    let curl = |args: &[&str]| {
        said(
            Command::new("curl")
                .args(["-s", "-i", "--max-time", "10"])
                .args(args)
                .output()
                .unwrap(),
        )
        .unwrap()
    };
    assert!(curl(&[&picture]).contains("MissingKey"));
    assert!(
        curl(&["-c", &jar, "-d", "name=demo&password=wrong", &format!("{at}/login")])
            .starts_with("HTTP/1.1 403")
    );
    assert!(
        curl(&["-c", &jar, "-d", "name=demo&password=demo", &format!("{at}/login")])
            .contains("Welcome")
    );
    for word in ["X-Cache: Miss", "X-Cache: Hit"] {
        let seen = curl(&["-b", &jar, &picture]);
        assert!(seen.starts_with("HTTP/1.1 200") && seen.contains(word), "{seen}");
    }
    assert!(curl(&[&picture]).contains("MissingKey"), "what is stored is no way around it");
    let _ = login.kill();
    let _ = login.wait();
}

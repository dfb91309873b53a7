//! What a release is put into: the schema, completions and manual pages that come from the program,
//! the package, the image and the list of what both are made of.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use foreshore::config;
use foreshore::crypto::sigv4::sha256;
use foreshore::semantics::time::Timestamp;
use serde_json::Value;

use super::support::Edge;
use super::support::edge::command;
use super::support::tool::{self, Tool};

const PYTHON: Tool = Tool::Program("python3");
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_foreshore"))
}

// Runs something to its end; what it printed.
fn run(command: &mut Command) -> String {
    let out = command.current_dir(root()).stdin(Stdio::null()).output().unwrap();
    let (said, error) =
        (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{command:?}\n{said}{error}");
    said.into_owned()
}

fn schema() -> Value {
    serde_json::from_str(&command(root(), &["schema"]).1).unwrap()
}

// What a schema of ours may say, of all that JSON Schema has.
fn resolve<'s>(schema: &'s Value, whole: &'s Value) -> &'s Value {
    match schema["$ref"].as_str() {
        Some(name) => &whole["definitions"][name.rsplit('/').next().unwrap()],
        None => schema,
    }
}

// Says where a value does not fit, and gives nothing where it does.
fn mistakes(schema: &Value, whole: &Value, value: &toml::Value, at: &str) -> Vec<String> {
    let schema = resolve(schema, whole);
    if let Some(any) = schema["anyOf"].as_array() {
        let all: Vec<_> = any.iter().map(|one| mistakes(one, whole, value, at)).collect();
        return if all.iter().any(Vec::is_empty) { Vec::new() } else { all.concat() };
    }
    if let Some(words) = schema["enum"].as_array() {
        let is_one = words.iter().any(|word| word.as_str() == value.as_str());
        return if is_one { Vec::new() } else { vec![format!("{at} is {value}")] };
    }
    match (schema["type"].as_str(), value) {
        (Some("object"), toml::Value::Table(table)) => {
            let one = |(key, value): (&String, &toml::Value)| {
                let at = format!("{at}.{key}");
                match (&schema["properties"][key], &schema["additionalProperties"]) {
                    (Value::Null, more @ Value::Object(_)) => mistakes(more, whole, value, &at),
                    (Value::Null, _) => vec![format!("{at} is not known")],
                    (known, _) => mistakes(known, whole, value, &at),
                }
            };
            table.iter().flat_map(one).collect()
        }
        (Some("array"), toml::Value::Array(items)) => {
            items.iter().flat_map(|item| mistakes(&schema["items"], whole, item, at)).collect()
        }
        (Some("string"), toml::Value::String(_))
        | (Some("integer"), toml::Value::Integer(_))
        | (Some("boolean"), toml::Value::Boolean(_)) => Vec::new(),
        (kind, value) => vec![format!("{at} is {value}, and no {kind:?}")],
    }
}

fn configurations(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            configurations(&entry, found);
        } else if entry.extension().is_some_and(|ending| ending == "toml") {
            found.push(entry);
        }
    }
}

#[test]
fn every_configuration_fits_the_schema() {
    let schema = schema();
    let mut all = Vec::new();
    configurations(&root().join("config"), &mut all);
    assert!(all.len() > 15, "only {} were found", all.len());
    for path in all {
        let text = std::fs::read_to_string(&path).unwrap();
        let value = toml::Value::Table(toml::from_str(&text).unwrap());
        let wrong = mistakes(&schema, &schema, &value, "");
        assert!(wrong.is_empty(), "{}: {wrong:#?}", path.display());
    }
}

#[test]
fn the_schema_refuses_what_the_reader_refuses() {
    let schema = schema();
    for (text, place) in [
        ("lisen = 1", ".lisen"),
        ("[listen]\nhttp = \"127.0.0.1:80\"", ".listen.http"),
        ("[listen]\nunknown_sni = \"drop\"", ".listen.unknown_sni"),
        // Words that stand in a list beside what reads them.
        ("[metrics]\nby = \"host\"", ".metrics.by"),
        ("[tier]\nmode = \"ring\"", ".tier.mode"),
        ("[cache_policy.c]\nsemantics = \"rfc2616\"", ".cache_policy.c.semantics"),
        ("[[distribution]]\ncompat = \"nginx\"", ".distribution.compat"),
        ("[[distribution]]\n[[distribution.origin]]\nip = \"v4\"", ".distribution.origin.ip"),
        ("[process]\ncore_dumps = true", ".process.core_dumps"),
        ("[admin]\ntoken = \"a literal\"", ".admin.token"),
        ("[limits]\nstreams = \"many\"", ".limits.streams"),
        ("[[distribution]]\n[[distribution.behavior]]\npath = 1", ".distribution.behavior.path"),
    ] {
        let value = toml::Value::Table(toml::from_str(text).unwrap());
        let wrong = mistakes(&schema, &schema, &value, "");
        assert!(wrong.iter().any(|said| said.starts_with(place)), "{text}\n{wrong:?}");
    }
}

// Says whether a schema has a key, by its path.
fn knows(schema: &Value, whole: &Value, path: &[&str]) -> bool {
    let schema = resolve(schema, whole);
    if let Some(any) = schema["anyOf"].as_array() {
        return any.iter().any(|one| knows(one, whole, path));
    }
    if schema["items"].is_object() {
        return knows(&schema["items"], whole, path);
    }
    let Some((first, rest)) = path.split_first() else { return true };
    match (&schema["properties"][*first], &schema["additionalProperties"]) {
        (Value::Null, more @ Value::Object(_)) => knows(more, whole, rest),
        (Value::Null, _) => false,
        (known, _) => knows(known, whole, rest),
    }
}

#[test]
fn the_schema_has_every_key_that_is_read() {
    let schema = schema();
    for key in config::known_keys(&root().join("config/tour.toml"), NOW) {
        let path: Vec<&str> = key.split('.').collect();
        assert!(
            knows(&schema, &schema, &path),
            "{key} is not in the schema: run config/package/schema"
        );
    }
}

// The keys that hold values, and of them those to which an editor has nothing to tell.
fn words(schema: &Value, whole: &Value, at: &str, found: &mut (usize, Vec<String>)) {
    let schema = resolve(schema, whole);
    let inner = ["items", "additionalProperties"].into_iter().filter_map(|name| schema.get(name));
    for one in inner.chain(schema["anyOf"].as_array().into_iter().flatten()) {
        words(one, whole, at, found);
    }
    for (key, made) in schema["properties"].as_object().into_iter().flatten() {
        let (made, at) = (resolve(made, whole), format!("{at}.{key}"));
        if made["properties"].is_null() && made["items"]["properties"].is_null() {
            found.0 += 1;
            if made["description"].is_null() {
                found.1.push(at.clone());
            }
        }
        words(made, whole, &at, found);
    }
}

#[test]
fn the_schema_has_something_to_tell_of_its_keys() {
    let schema = schema();
    let mut found = (0, Vec::new());
    words(&schema, &schema, "", &mut found);
    let (keys, mute) = found;
    // Where the tour has no words it has an example; a few keys stand only in the guide.
    assert!(keys > 300 && mute.len() * 10 < keys, "{} of {keys}: {mute:#?}", mute.len());
}

#[test]
fn the_schema_is_what_its_script_makes() {
    if tool::have(&[PYTHON]) {
        run(Command::new("python3").args(["config/package/schema", "--check"]));
    }
}

#[test]
fn completions_are_for_every_shell_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    // Each is loaded, and asked for what begins with "pur", or what completes us.
    let bash = "source \"$0\" && COMP_WORDS=(foreshore pur) COMP_CWORD=1 \
        && _foreshore foreshore pur foreshore && echo \"${COMPREPLY[@]}\"";
    let zsh = "autoload -Uz compinit && compinit -D -u && source \"$0\" && echo $_comps[foreshore]";
    let fish = "source $argv[1]; complete -C 'foreshore pur'";
    for (shell, flag, script, wanted) in [
        ("bash", "-c", bash, "purge"),
        ("zsh", "-fc", zsh, "_foreshore"),
        ("fish", "-c", fish, "purge"),
    ] {
        let (code, made, error) = command(root(), &["completions", shell]);
        assert_eq!(code, 0, "{error}");
        for word in ["purge", "explain", "completions", "dry-run"] {
            assert!(made.contains(word), "{shell} knows no {word}");
        }
        if tool::have(&[Tool::Program(shell)]) {
            let path = folder.path().join(shell);
            std::fs::write(&path, made).unwrap();
            let told = run(Command::new(shell).arg(flag).arg(script).arg(&path));
            assert!(told.contains(wanted), "{shell}: {told}");
        }
    }
}

// The long options that a help text has.
fn options(help: &str) -> Vec<String> {
    let words = help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    let mut all: Vec<String> = words
        .filter(|word| word.len() > 3 && word.starts_with("--") && *word != "--help")
        .map(String::from)
        .collect();
    all.sort();
    all.dedup();
    all
}

// The commands that a help text names.
fn commands(help: &str) -> Vec<&str> {
    let (_, commands) = help.split_once("Commands:\n").unwrap_or_default();
    let lines = commands.lines().take_while(|line| !line.is_empty());
    lines
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}

// Examples are there to be pasted: the terminal's width must not break them.
#[test]
fn examples_of_help_texts_stand_as_they_are_typed() {
    let folder = tempfile::tempdir().unwrap();
    let whole = command(root(), &["--help"]).1;
    let names = commands(&whole);
    assert!(names.contains(&"purge") && names.len() > 12, "{names:?}");
    let starts = ["  foreshore ", "  aws ", "  terraform ", "  cdk ", "    "];
    for name in names {
        let help = command(folder.path(), &[name, "--help"]).1;
        let examples = help.lines().skip_while(|line| !line.starts_with("Example"));
        for line in examples.skip(1).take_while(|line| !line.is_empty()) {
            assert!(starts.iter().any(|start| line.starts_with(start)), "{name}: {line:?}");
        }
    }
}

#[test]
fn manual_pages_have_every_option() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("man1");
    let (code, _, error) = command(root(), &["man", "--out", out.to_str().unwrap()]);
    assert_eq!(code, 0, "{error}");
    let page = |name: &str| {
        let text = std::fs::read_to_string(out.join(name)).unwrap();
        text.replace("\\-", "-")
    };
    // From the command itself down to those of its commands.
    let mut waiting = vec![Vec::<String>::new()];
    let (mut pages, mut told) = (0, 0);
    while let Some(words) = waiting.pop() {
        let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
        let name = [&["foreshore"][..], &arguments[..]].concat().join("-") + ".1";
        arguments.push("--help");
        let help = command(root(), &arguments).1;
        let text = page(&name);
        let lines = help.lines().filter(|line| line.trim_start().starts_with('-'));
        for option in lines.flat_map(options) {
            assert!(text.contains(&option), "{name} has no {option}");
            told += 1;
        }
        for inner in commands(&help).into_iter().filter(|inner| *inner != "help") {
            let mut next = words.clone();
            next.push(inner.to_string());
            waiting.push(next);
        }
        pages += 1;
    }
    assert_eq!(pages, std::fs::read_dir(&out).unwrap().count(), "pages of commands that are not");
    assert!(pages > 40 && told > 100, "{told} options on {pages} pages");
    assert!(!out.join("foreshore-__worker.1").exists());
    let printed = command(root(), &["man"]).1.replace("\\-", "-");
    assert!(printed.contains("foreshore-purge(1)"), "{printed}");
}

#[test]
fn the_unit_leaves_the_service_little() {
    // With either of these systemd answers openat2 with ENOSYS, and every file of an origin would be
    // one that cannot be opened.
    let unit = std::fs::read_to_string(root().join("config/package/foreshore.service")).unwrap();
    let sets = |key: &str| unit.lines().any(|line| line.starts_with(key));
    assert!(!sets("RestrictSUIDSGID=") && !sets("DynamicUser="), "{unit}");
    // The thread that compiles makes itself nicer by a call that systemd counts among @resources: of
    // two lines the later counts.
    let filters = unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter="));
    let words: Vec<&str> = filters.flat_map(str::split_whitespace).collect();
    let last = |word: &str| words.iter().rposition(|one| *one == word);
    assert!(last("@resources").is_some() && last("setpriority") > last("@resources"), "{unit}");
    if !tool::have(&[Tool::Program("systemd-analyze")]) {
        return;
    }
    let told = run(Command::new("systemd-analyze").args([
        "security",
        "--offline=true",
        "config/package/foreshore.service",
    ]));
    let line = told.lines().find(|line| line.contains("Overall exposure level")).expect(&told);
    let level = line.rsplit(": ").next().and_then(|rest| rest.split(' ').next()).unwrap();
    assert!(level.parse::<f64>().unwrap() <= 2.0, "{line}");
}

// By systemd's own limit an edge that fails five times in ten seconds, or is restarted so often, stays
// down until somebody looks.
#[test]
fn the_unit_is_never_given_up_and_never_busy_with_starts() {
    let unit = std::fs::read_to_string(root().join("config/package/foreshore.service")).unwrap();
    let (head, service) = unit.split_once("\n[Service]\n").expect("two sections");
    let value = |section: &str, key: &str| {
        let found = section.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        found.map(str::to_string)
    };
    assert_eq!(value(head, "StartLimitIntervalSec").as_deref(), Some("0"), "of [Unit]: {head}");
    assert_eq!(value(service, "Restart").as_deref(), Some("on-failure"));
    let pause = value(service, "RestartSec").and_then(|pause| pause.parse::<u32>().ok());
    assert!(pause.is_some_and(|pause| (2..=10).contains(&pause)), "{pause:?} seconds");
    assert_eq!(value(service, "RestartSteps"), None, "they are not begun anew by good service");
    if !tool::have(&[Tool::Program("systemd-analyze")]) {
        return;
    }
    // What it says of a program that is not there is left aside.
    let told = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "config/package/foreshore.service"])
        .current_dir(root())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(!told.contains("StartLimit") && !told.contains("RestartSec"), "{told}");
}

fn package(folder: &Path) -> PathBuf {
    let mut script = Command::new(root().join("config/package/deb"));
    script.args([binary(), folder]).env("DEB_COMPRESSION", "none").env("SOURCE_DATE_EPOCH", "0");
    PathBuf::from(run(&mut script).trim())
}

#[test]
fn the_package_holds_what_it_should_and_what_it_configures_serves() {
    let tools = [PYTHON, Tool::Program("dpkg-deb"), Tool::Program("strip"), tool::CURL];
    if !tool::have(&tools) {
        return;
    }
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let made = package(folder.path());
    let first = sha256(&std::fs::read(&made).unwrap());
    assert_eq!(first, sha256(&std::fs::read(package(folder.path())).unwrap()), "the same again");
    let control = |file: &str| run(Command::new("dpkg-deb").arg("-I").arg(&made).arg(file));
    assert_eq!(control("conffiles"), "/etc/foreshore/foreshore.toml\n/etc/logrotate.d/foreshore\n");
    assert!(control("control").contains("Depends: libc6 (>= 2."), "{}", control("control"));
    let unpacked = folder.path().join("root");
    run(Command::new("dpkg-deb").arg("-x").arg(&made).arg(&unpacked));
    for file in [
        "usr/bin/foreshore",
        "lib/systemd/system/foreshore.service",
        "lib/systemd/system/foreshore.socket",
        "usr/lib/sysusers.d/foreshore.conf",
        "usr/lib/tmpfiles.d/foreshore.conf",
        "usr/share/man/man1/foreshore.1.gz",
        "usr/share/man/man1/foreshore-run.1.gz",
        "usr/share/bash-completion/completions/foreshore",
        "usr/share/zsh/vendor-completions/_foreshore",
        "usr/share/fish/vendor_completions.d/foreshore.fish",
        "usr/share/foreshore/foreshore.schema.json",
        "usr/share/doc/foreshore/copyright",
    ] {
        assert!(unpacked.join(file).is_file(), "{file} is not in the package");
    }
    let settings = std::fs::read_to_string(unpacked.join("etc/foreshore/foreshore.toml")).unwrap();
    let here = folder.path().display();
    let settings = settings
        .replace("/var/lib/foreshore", &format!("{here}/data"))
        .replace("/var/log/foreshore", &here.to_string())
        .replace("/usr/share/foreshore", &format!("{here}/root/usr/share/foreshore"))
        .replace("\"0.0.0.0:80\"", "\"127.0.0.1:0\"")
        .replace("\"0.0.0.0:443\"", "\"127.0.0.1:0\"")
        .replace("127.0.0.1:9080", "127.0.0.1:0");
    std::fs::write(folder.path().join("edge.toml"), settings).unwrap();
    let mut command = Command::new(unpacked.join("usr/bin/foreshore"));
    command.args(["run", "--quiet", "--config"]);
    let edge = Edge::start_by(command, &folder).unwrap();
    let url = format!("https://localhost:{}/", edge.https.unwrap().port());
    let page = run(Command::new("curl").args(["-sk", "--fail", &url]));
    assert!(page.contains("<html"), "{page}");
}

fn image(target: &Path) -> String {
    let mut script = Command::new(root().join("config/package/image"));
    script.args([binary(), target]).env("SOURCE_DATE_EPOCH", "0");
    run(&mut script);
    sha256(&std::fs::read(target).unwrap())
}

#[test]
fn the_image_is_whole_and_its_program_finds_its_libraries() {
    if !tool::have(&[PYTHON, Tool::Program("strip")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("image.tar");
    assert_eq!(image(&archive), image(&folder.path().join("again.tar")), "the same again");
    let (layout, files) = (folder.path().join("layout"), folder.path().join("root"));
    for made in [&layout, &files] {
        std::fs::create_dir(made).unwrap();
    }
    run(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&layout));
    let blob = |digest: &Value| layout.join("blobs/sha256").join(&digest.as_str().unwrap()[7..]);
    let read =
        |path: PathBuf| -> Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    for entry in std::fs::read_dir(layout.join("blobs/sha256")).unwrap().map(Result::unwrap) {
        let octets = std::fs::read(entry.path()).unwrap();
        assert_eq!(entry.file_name().to_str(), Some(&*sha256(&octets)), "a blob is not its name");
    }
    let index = read(layout.join("index.json"));
    let manifest = read(blob(&index["manifests"][0]["digest"]));
    let settings = read(blob(&manifest["config"]["digest"]));
    assert_eq!(settings["config"]["Entrypoint"][0], "/usr/bin/foreshore");
    let layer = blob(&manifest["layers"][0]["digest"]);
    run(Command::new("tar").arg("-xzf").arg(layer).arg("-C").arg(&files));
    // Only root may change its root.
    if rustix::process::getuid().is_root() {
        let told = run(Command::new("chroot").arg(&files).args([
            "/usr/bin/foreshore",
            "check",
            "--config",
            "/etc/foreshore/foreshore.toml",
        ]));
        assert!(told.contains("is fine"), "{told}");
    }
}

#[test]
fn what_a_release_is_made_of_is_told() {
    if !tool::have(&[PYTHON]) {
        return;
    }
    let told: Value =
        serde_json::from_str(&run(Command::new("python3").arg("config/package/sbom"))).unwrap();
    assert_eq!(told["bomFormat"], "CycloneDX");
    assert_eq!(told["specVersion"], "1.5");
    let parts = told["components"].as_array().unwrap();
    let has = |name: &str| parts.iter().any(|part| part["name"] == name);
    assert!(has("rustls") && has("aws-lc-rs"), "what ships is told");
    assert!(!has("shuttle") && !has("ring"), "and nothing else");
    for part in parts {
        let is_whole = part["licenses"].is_array() && part["hashes"].is_array();
        assert!(is_whole, "{} has no licence or no digest", part["name"]);
    }
}

// What `.ci/deny` says of packages that somebody might add.
#[test]
fn what_must_not_be_linked_is_refused_without_cargo_deny() {
    if !tool::have(&[PYTHON]) {
        return;
    }
    let package = |name: &str, version: &str, licence: &str, source: &str| {
        serde_json::json!({
            "name": name, "version": version, "license": licence, "dependencies": [],
            "source": format!("registry+https://{source}"),
        })
    };
    let index = "github.com/rust-lang/crates.io-index";
    let packages = serde_json::json!({ "packages": [
        package("openssl", "0.10.0", "Apache-2.0", index),
        package("copyleft", "1.0.0", "GPL-3.0-only OR (MIT AND GPL-2.0-only)", index),
        package("choice", "1.0.0", "GPL-3.0-only OR MIT", index),
        package("old-words", "1.0.0", "MIT/GPL-3.0-only", index),
        package("elsewhere", "1.0.0", "MIT", "example.com/index"),
        package("twice", "1.0.0", "MIT", index),
        package("twice", "2.0.0", "MIT", index),
        package("digest", "0.10.7", "MIT", index),
        package("digest", "0.11.3", "MIT", index),
    ] });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metadata.json");
    std::fs::write(&path, packages.to_string()).unwrap();
    let mut script = Command::new("python3");
    script.args([".ci/deny", "--metadata"]).arg(&path).current_dir(root());
    let out = script.output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert_eq!(out.status.code(), Some(1), "{said}{}", String::from_utf8_lossy(&out.stderr));
    for words in [
        "openssl 0.10.0 is banned: TLS is rustls",
        "copyleft 1.0.0 has the licence GPL-3.0-only",
        "elsewhere 1.0.0 comes from registry+https://example.com",
        "twice is there as 1.0.0, 2.0.0",
        "bans.skip: nom:^8 is there once, or not at all",
    ] {
        assert!(said.contains(words), "no {words} in\n{said}");
    }
    for fine in ["choice", "old-words", "digest"] {
        assert!(!said.contains(fine), "{fine} is refused:\n{said}");
    }
}

//! Lambda@Edge functions in real workers, called through the room's own door: what they answer, and
//! that each trouble is that of one call alone.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use foreshore::clock::Clock;
use foreshore::distribution::functions::{
    LambdaClient, LambdaLimits, LambdaNetwork, LambdaRuntime, LambdaSpec,
};
use foreshore::lambda::{InvokeFailure, Lambdas, Line, Settings};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use super::support::edge::{command, plain};
use super::support::origin::fresh;
use super::support::tool::{self, Tool};
use super::support::{Edge, Origin, eventually};

const NODE: LambdaRuntime = LambdaRuntime::Node(20);
const PYTHON: LambdaRuntime = LambdaRuntime::Python(11);

/// Functions, their workers and what they wrote.
struct Stage {
    folder: TempDir,
    lambdas: Lambdas,
    lines: Arc<Mutex<Vec<String>>>,
    specs: Vec<Arc<LambdaSpec>>,
}

impl Stage {
    fn new() -> Self {
        Self::with_sleepers(256)
    }

    fn with_sleepers(sleepers: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&lines);
        let settings = Settings {
            launcher: env!("CARGO_BIN_EXE_foreshore").into(),
            folder: folder.path().join("lambda"),
            path: std::env::var("PATH").unwrap(),
            sleepers,
            cgroup: None,
            log: Some(Arc::new(move |line: &Line<'_>| {
                kept.lock().push(format!("{:?} {}", line.writer, line.text));
            })),
            clock: Clock::system(),
        };
        let lambdas = Lambdas::start(settings).unwrap();
        Self { folder, lambdas, lines, specs: Vec::new() }
    }

    fn code(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("code").join(name)
    }

    fn write(&self, name: &str, files: &[(&str, &str)]) {
        for (file, text) in files {
            let path = self.code(name).join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    // A function of these files, with one worker at most; `change` may want it otherwise.
    fn add(
        &mut self,
        name: &str,
        runtime: LambdaRuntime,
        handler: &str,
        files: &[(&str, &str)],
        change: impl FnOnce(&mut LambdaSpec),
    ) {
        self.write(name, files);
        let mut spec = LambdaSpec {
            name: name.into(),
            arn: None,
            code: self.code(name),
            handler: handler.into(),
            runtime,
            program: None,
            client: LambdaClient::Own,
            memory: 256 << 20,
            timeout: Duration::from_secs(5),
            workers: (0, 1),
            environment: Vec::new(),
            network: LambdaNetwork::Allow,
            user: None,
            limits: LambdaLimits::AtEdge,
        };
        change(&mut spec);
        self.specs.push(Arc::new(spec));
        self.lambdas.follow(self.specs.clone());
    }

    async fn call(&self, name: &str, event: Value) -> Result<Value, InvokeFailure> {
        let event = Bytes::from(event.to_string());
        let deadline = Instant::now() + Duration::from_secs(60);
        let answer = self.lambdas.invoke(name, event, deadline).await?;
        Ok(serde_json::from_slice(&answer).unwrap())
    }

    fn wrote(&self, text: &str) -> bool {
        self.lines.lock().iter().any(|line| line.contains(text))
    }
}

fn init_kind(answer: &Result<Value, InvokeFailure>) -> &str {
    match answer {
        Err(InvokeFailure::InitFailed { kind, .. }) => kind,
        other => panic!("{other:?}"),
    }
}

fn has_node() -> bool {
    tool::have(&[Tool::Program("node")])
}

fn has_python() -> bool {
    tool::have(&[Tool::Program("python3")])
}

#[tokio::test]
async fn handlers_of_every_style_answer_in_node() {
    if !has_node() {
        return;
    }
    let mut stage = Stage::new();
    let plain = |stage: &mut Stage, name: &str, handler: &str, files: &[(&str, &str)]| {
        stage.add(name, NODE, handler, files, |_| {});
    };
    plain(
        &mut stage,
        "async",
        "index.handler",
        &[("index.js", "exports.handler = async e => e.a")],
    );
    plain(
        &mut stage,
        "callback",
        "index.handler",
        &[("index.js", "exports.handler = (e, c, cb) => { cb(null, c.awsRequestId.length) }")],
    );
    plain(
        &mut stage,
        "nested",
        "src/deep/main.api.run",
        &[("src/deep/main.mjs", "export const api = { run: async () => 'nested' }")],
    );
    plain(
        &mut stage,
        "module",
        "index.handler",
        &[
            ("index.js", "import fs from 'fs'; export const handler = async () => typeof fs.open"),
            ("package.json", r#"{"type":"module"}"#),
        ],
    );
    plain(
        &mut stage,
        "silent",
        "index.handler",
        &[("index.js", "exports.handler = (e, c, cb) => { console.log('said', { x: 1 }) }")],
    );
    assert_eq!(stage.call("async", json!({"a": "ü"})).await, Ok(json!("ü")));
    assert_eq!(stage.call("callback", json!({})).await, Ok(json!(36)));
    assert_eq!(stage.call("nested", json!({})).await, Ok(json!("nested")));
    assert_eq!(stage.call("module", json!({})).await, Ok(json!("function")));
    assert_eq!(stage.call("silent", json!({})).await, Ok(json!(null)));
    // Lines of a call are there when the next of its function is answered.
    assert_eq!(stage.call("silent", json!({})).await, Ok(json!(null)));
    assert!(stage.wrote("\tINFO\tsaid { x: 1 }"));
    assert!(stage.wrote("Platform START RequestId: "));
    assert!(stage.wrote("Platform REPORT RequestId: "));
}

#[tokio::test]
async fn what_layers_would_bring_is_looked_for_where_aws_has_it() {
    let mut stage = Stage::new();
    if has_node() {
        let code =
            [("index.js", "exports.handler = async () => process.env.NODE_PATH.split(':')[0]")];
        stage.add("node", NODE, "index.handler", &code, |_| {});
        assert_eq!(stage.call("node", json!({})).await, Ok(json!("/opt/nodejs/node_modules")));
    }
    if has_python() {
        let main = "import sys\ndef handler(e, c):\n    return '/opt/python' in sys.path[1:]\n";
        stage.add("python", PYTHON, "main.handler", &[("main.py", main)], |_| {});
        assert_eq!(stage.call("python", json!({})).await, Ok(json!(true)));
    }
}

// As AWS's runtime has it: a guard that answers and goes on must not be a guard that lets pass.
#[tokio::test]
async fn the_first_word_of_a_handler_counts() {
    if !has_node() {
        return;
    }
    let mut stage = Stage::new();
    for (name, body) in [
        ("twice", "(e, c, cb) => { cb(null, 1); cb(null, 2); }"),
        ("error", "(e, c, cb) => { cb(null, 1); cb(new Error('late')); }"),
        ("throws", "(e, c, cb) => { cb(null, 1); throw new Error('late'); }"),
        ("async", "async (e, c, cb) => { cb(null, 1); }"),
        ("rejects", "async (e, c, cb) => { cb(null, 1); throw new Error('late'); }"),
        ("done", "(e, c, cb) => { c.succeed(1); cb(null, 2); c.fail(new Error('late')); }"),
        ("later", "(e, c, cb) => { cb(null, 1); setTimeout(() => cb(null, 2), 5); }"),
        ("returns", "async (e, c, cb) => { setTimeout(() => cb(null, 2), 5); return 1; }"),
    ] {
        let code = format!("exports.handler = {body};");
        stage.add(name, NODE, "index.handler", &[("index.js", code.as_str())], |_| {});
        for _ in 0..2 {
            assert_eq!(stage.call(name, json!({})).await, Ok(json!(1)), "{name}");
        }
    }
    let failed = "exports.handler = (e, c, cb) => { cb(new Error('first')); cb(null, 2); };";
    stage.add("failed", NODE, "index.handler", &[("index.js", failed)], |_| {});
    assert!(stage.call("failed", json!({})).await.is_err());
}

#[tokio::test]
async fn handlers_answer_in_python() {
    if !has_python() {
        return;
    }
    let mut stage = Stage::new();
    let main = "import json\ndef handler(e, c):\n    print('said', c.function_name)\n    \
                return {'a': e['a'], 'left': c.get_remaining_time_in_millis() > 1000}\n";
    stage.add("plain", PYTHON, "lib/main.handler", &[("lib/main.py", main)], |_| {});
    let want = json!({"a": "ü", "left": true});
    assert_eq!(stage.call("plain", json!({"a": "ü"})).await, Ok(want.clone()));
    assert_eq!(stage.call("plain", json!({"a": "ü"})).await, Ok(want));
    assert!(stage.wrote("Stdout said us-east-1.plain"));
}

#[tokio::test]
async fn an_interpreter_of_another_version_runs_code_and_says_so() {
    if !has_node() || !has_python() {
        return;
    }
    let mut stage = Stage::new();
    let (node, python) = (LambdaRuntime::Node(99), LambdaRuntime::Python(99));
    let code = [("index.js", "exports.handler = async () => 1")];
    stage.add("node", node, "index.handler", &code, |_| {});
    let code = [("index.py", "def handler(e, c):\n    return 2\n")];
    stage.add("python", python, "index.handler", &code, |_| {});
    assert_eq!(stage.call("node", json!({})).await, Ok(json!(1)));
    assert_eq!(stage.call("python", json!({})).await, Ok(json!(2)));
    eventually("both say it", || {
        stage.wrote("Stderr foreshore: nodejs99.x is wanted, and Node.js ")
            && stage.wrote("Stderr foreshore: python3.99 is wanted, and Python ")
    });
}

#[tokio::test]
async fn each_mistake_of_code_has_lambdas_name_for_it() {
    if !has_node() || !has_python() {
        return;
    }
    let mut stage = Stage::new();
    for (name, runtime, handler, file, text, kind) in [
        ("a", NODE, "index.handler", "index.js", "require('none')", "Runtime.ImportModuleError"),
        (
            "b",
            NODE,
            "index.handler",
            "index.js",
            "exports.handler = async(",
            "Runtime.UserCodeSyntaxError",
        ),
        ("c", NODE, "index.handler", "index.js", "exports.x = 1", "Runtime.HandlerNotFound"),
        ("d", NODE, "handler", "index.js", "", "Runtime.MalformedHandlerName"),
        ("e", NODE, "index.handler", "index.js", "process.exit(3)", "Runtime.ExitError"),
        ("f", PYTHON, "index.handler", "index.py", "import none", "Runtime.ImportModuleError"),
        ("g", PYTHON, "index.handler", "index.py", "def handler(:", "Runtime.UserCodeSyntaxError"),
        ("h", PYTHON, "index.handler", "index.py", "x = 1", "Runtime.HandlerNotFound"),
        ("i", PYTHON, "handler", "index.py", "", "Runtime.MalformedHandlerName"),
    ] {
        stage.add(name, runtime, handler, &[(file, text)], |_| {});
        let answer = stage.call(name, json!({})).await;
        assert_eq!(init_kind(&answer), kind, "{text}");
        // Broken, it refuses without another try, but now and then.
        let tries = || stage.lambdas.counts().find(name).unwrap().failed_starts.get();
        let mut refused = false;
        for _ in 0..10 {
            let before = tries();
            assert_eq!(init_kind(&stage.call(name, json!({})).await), kind, "{text}");
            refused |= tries() == before;
        }
        assert!(refused, "{text} was tried again each time");
    }
    stage.add("gone", NODE, "index.handler", &[("a", "")], |spec| spec.code = "/no/such".into());
    assert_eq!(init_kind(&stage.call("gone", json!({})).await), "Code");
    stage.add("other", NODE, "index.handler", &[("a", "")], |spec| {
        spec.program = Some("/no/such/node".into());
    });
    assert_eq!(init_kind(&stage.call("other", json!({})).await), "Program");
}

const TROUBLE: &str = "
exports.handler = async (event) => {
  switch (event.do) {
    case 'throw': throw new TypeError('no');
    case 'exit': process.exit(7);
    case 'kill': process.kill(process.pid, 'SIGKILL'); await new Promise(() => {}); break;
    case 'hang': for (;;) ;
    case 'wait': await new Promise((done) => setTimeout(done, 600000)); break;
    case 'leak': { const all = []; for (;;) { all.push(Buffer.alloc(1 << 20, 1)); await new Promise(setImmediate); } }
    case 'flood': for (let i = 0; i < 40000; i++) console.log('x'.repeat(100)); return 'flooded';
    case 'large': return 'x'.repeat(7 << 20);
    default: return process.pid;
  }
};
";

#[tokio::test]
async fn each_trouble_is_one_calls_alone_and_the_next_works() {
    if !has_node() {
        return;
    }
    let mut stage = Stage::new();
    // Time enough for all that ends by itself on a machine that is busy.
    for (name, seconds) in [("trouble", 30), ("late", 3)] {
        stage.add(name, NODE, "index.handler", &[("index.js", TROUBLE)], |spec| {
            spec.timeout = Duration::from_secs(seconds);
        });
    }
    let first = stage.call("trouble", json!({})).await.unwrap();
    assert_eq!(stage.call("trouble", json!({})).await, Ok(first.clone()), "a worker is used again");
    type IsIt = fn(&InvokeFailure) -> bool;
    let cases: [(&str, IsIt); 5] = [
        ("throw", |failure| {
            let (kind, message) = ("TypeError".to_string(), "no".to_string());
            *failure == InvokeFailure::HandlerError { kind, message }
        }),
        ("exit", |failure| matches!(failure, InvokeFailure::Exited(how) if how.contains('7'))),
        ("kill", |failure| matches!(failure, InvokeFailure::Exited(how) if how.contains('9'))),
        ("leak", |failure| *failure == InvokeFailure::OutOfMemory),
        ("large", |failure| *failure == InvokeFailure::TooLarge),
    ];
    for (what, is_it) in cases {
        let failure = stage.call("trouble", json!({"do": what})).await.unwrap_err();
        assert!(is_it(&failure), "{what}: {failure:?}");
        let next = stage.call("trouble", json!({})).await;
        assert!(next.as_ref().is_ok_and(Value::is_u64), "after {what}: {next:?}");
        // An error of the code is no reason to end its worker.
        assert_eq!(next.as_ref() == Ok(&first), what == "throw", "{what}");
    }
    for what in ["hang", "wait"] {
        let failure = stage.call("late", json!({"do": what})).await;
        assert_eq!(failure, Err(InvokeFailure::TimedOut), "{what}");
        let next = stage.call("late", json!({})).await;
        assert!(next.as_ref().is_ok_and(Value::is_u64), "after {what}: {next:?}");
    }
    assert_eq!(stage.call("trouble", json!({"do": "flood"})).await, Ok(json!("flooded")));
    stage.call("trouble", json!({})).await.unwrap();
    // What lies in the pipe when a call ends counts for the next one.
    eventually("the flood is cut off", || stage.wrote("are left out"));
    let flood = stage.lines.lock().iter().filter(|line| line.contains("xxxx")).count();
    assert!(flood < 20_000, "{flood} lines");
    let large = Bytes::from(vec![b'1'; (6 << 20) + 1]);
    let deadline = Instant::now() + Duration::from_secs(9);
    let answer = stage.lambdas.invoke("trouble", large, deadline).await;
    assert_eq!(answer, Err(InvokeFailure::TooLarge));
}

#[tokio::test]
async fn a_worker_killed_in_mid_call_fails_that_call_and_another_takes_its_place() {
    if !has_node() {
        return;
    }
    let mut stage = Stage::new();
    stage.add("trouble", NODE, "index.handler", &[("index.js", TROUBLE)], |spec| {
        spec.timeout = Duration::from_secs(30);
    });
    let pid = stage.call("trouble", json!({})).await.unwrap();
    // It asks for the next call a little after it has answered this one.
    while stage.lambdas.counts().find("trouble").unwrap().tally().idle == 0 {
        tokio::task::yield_now().await;
    }
    let waiting = stage.call("trouble", json!({"do": "wait"}));
    let killing = async {
        while stage.lambdas.counts().find("trouble").unwrap().tally().busy == 0 {
            tokio::task::yield_now().await;
        }
        let kill = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
        assert!(kill.unwrap().success());
    };
    let (answer, ()) = tokio::join!(waiting, killing);
    assert!(matches!(answer, Err(InvokeFailure::Exited(_))), "{answer:?}");
    let next = stage.call("trouble", json!({})).await.unwrap();
    assert_ne!(next, pid);
}

#[tokio::test]
async fn code_that_forks_costs_one_call_at_most() {
    if !has_python() {
        return;
    }
    let mut stage = Stage::new();
    // The child goes on as its parent does, on the same connection.
    let code =
        "import os\ndef handler(e, c):\n    if 'fork' in e:\n        os.fork()\n    return 1\n";
    stage.add("fork", PYTHON, "index.handler", &[("index.py", code)], |_| {});
    assert_eq!(stage.call("fork", json!({})).await, Ok(json!(1)));
    assert_eq!(stage.call("fork", json!({"fork": 1})).await, Ok(json!(1)));
    let mut failed = 0;
    for _ in 0..20 {
        failed += usize::from(stage.call("fork", json!({})).await != Ok(json!(1)));
    }
    assert!(failed <= 1, "{failed} calls failed");
}

#[tokio::test]
async fn what_waits_is_bounded_and_the_rest_is_throttled() {
    if !has_node() {
        return;
    }
    let mut stage = Stage::with_sleepers(100);
    let code =
        "exports.handler = async () => { await new Promise((r) => setTimeout(r, 1)); return 1 }";
    stage.add("slow", NODE, "index.handler", &[("index.js", code)], |spec| spec.workers = (0, 2));
    let stage = Arc::new(stage);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let stage = Arc::clone(&stage);
        calls.spawn(async move { stage.call("slow", json!({})).await });
    }
    let (mut answered, mut throttled) = (0, 0);
    while let Some(answer) = calls.join_next().await {
        match answer.unwrap() {
            Ok(_) => answered += 1,
            Err(InvokeFailure::Throttled) => throttled += 1,
            Err(other) => panic!("{other}"),
        }
    }
    // Before the first worker is there, a hundred wait; all others came before that.
    assert!((100..300).contains(&answered), "{answered} answered, {throttled} throttled");
    let tally = stage.lambdas.counts().find("slow").unwrap().tally();
    assert_eq!(tally.waiting, 0);
    assert!(tally.idle + tally.busy <= 2);
}

#[test]
fn changed_code_gets_new_workers() {
    if !has_node() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut stage = Stage::new();
    let code = |n: u32| format!("exports.handler = async () => {n}");
    stage.add("hot", NODE, "index.handler", &[("index.js", &code(1))], |_| {});
    assert_eq!(runtime.block_on(stage.call("hot", json!({}))), Ok(json!(1)));
    stage.write("hot", &[("index.js", &code(22))]);
    eventually("the new code answers", || {
        runtime.block_on(stage.call("hot", json!({}))) == Ok(json!(22))
    });
}

#[tokio::test]
async fn the_sandbox_holds_where_the_machine_can() {
    if !has_python() {
        return;
    }
    let mut stage = Stage::new();
    let launcher = Path::new(env!("CARGO_BIN_EXE_foreshore"));
    let lacking = foreshore::lambda::lacking(launcher);
    let secret = stage.folder.path().join("secret");
    std::fs::write(&secret, "hush").unwrap();
    let code = "
import os, resource, socket, tempfile
def tried(what):
    try:
        return what() or 'done'
    except OSError as error:
        return type(error).__name__
def handler(e, c):
    return {
        'read': tried(lambda: open(e['secret']).read()),
        'write': tried(lambda: open(os.path.join(os.environ['LAMBDA_TASK_ROOT'], 'x'), 'w').close()),
        'edge': tried(lambda: open('/proc/%d/environ' % os.getppid(), 'rb').read() and 'done'),
        'own': tried(lambda: tempfile.TemporaryFile() and 'done'),
        'tmp': tried(lambda: open('/tmp/' + e['mark'], 'w').close()),
        'is own': os.path.exists(os.path.join(os.environ['TMPDIR'], e['mark'])),
        'core': resource.getrlimit(resource.RLIMIT_CORE)[1],
        'files': resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        'names': sorted(os.environ),
        'privileges': [l for l in open('/proc/self/status') if l.startswith('NoNewPrivs')][0][-2],
        'group': os.getpgid(0) == os.getpid(),
    }
";
    stage.add("held", PYTHON, "index.handler", &[("index.py", code)], |spec| {
        spec.environment = vec![("MINE".into(), "1".into())];
    });
    let mark = format!("foreshore-mark-{}", std::process::id());
    let told = stage.call("held", json!({"secret": secret, "mark": mark})).await.unwrap();
    let lacks = |what: &str| lacking.iter().any(|lacking| lacking.starts_with(what));
    // Code, data and secret of this test lie below /tmp themselves, unless TMPDIR says otherwise.
    if !lacks("a /tmp of their own") {
        assert_eq!((&told["tmp"], &told["is own"]), (&json!("done"), &json!(true)), "{told}");
        assert!(!Path::new("/tmp").join(&mark).exists(), "that is everybody's");
        assert_ne!(told["read"], "hush");
        assert_ne!(told["write"], "done");
    }
    if !lacks("Landlock:") {
        // What is not there cannot be opened either.
        let is_kept = |error: &Value| *error == "PermissionError" || *error == "FileNotFoundError";
        assert!(is_kept(&told["read"]), "{told}");
        // That of a file system that is only to be read has no name of its own.
        assert!(told["write"] == "PermissionError" || told["write"] == "OSError", "{told}");
        // What the edge was given by its environment is none of its business.
        assert_eq!(told["edge"], "PermissionError");
    }
    assert_eq!(told["own"], "done");
    assert_eq!((&told["core"], &told["files"]), (&json!(0), &json!(1024)));
    assert_eq!((&told["privileges"], &told["group"]), (&json!("1"), &json!(true)));
    let names = told["names"].as_array().unwrap();
    assert!(names.contains(&json!("MINE")) && names.contains(&json!("_HANDLER")));
    for name in ["HOME", "CARGO", "FORESHORE_API"] {
        assert!(!names.contains(&json!(name)), "{name} is inherited");
    }
}

#[tokio::test]
async fn all_workers_end_with_the_edge() {
    if !has_node() {
        return;
    }
    let mut stage = Stage::new();
    stage.add("trouble", NODE, "index.handler", &[("index.js", TROUBLE)], |_| {});
    let pid = stage.call("trouble", json!({})).await.unwrap();
    stage.lambdas.drain(Duration::from_secs(1)).await;
    assert!(!Path::new("/proc").join(pid.to_string()).exists(), "worker {pid} lives on");
    let late = stage.call("trouble", json!({})).await;
    assert!(late.is_err(), "{late:?}");
}

#[tokio::test]
async fn the_official_client_gives_the_same_answers() {
    if !tool::have(&[Tool::Module("awslambdaric")]) {
        return;
    }
    let mut stage = Stage::new();
    let code = "def handler(e, c):\n    if 'bad' in e:\n        raise ValueError('no')\n    \
                return {'e': e, 'name': c.function_name, 'id': len(c.aws_request_id)}\n";
    let python = tool::folder().join("python/bin/python");
    for (name, client) in [("own", LambdaClient::Own), ("ric", LambdaClient::Official)] {
        stage.add(name, PYTHON, "index.handler", &[("index.py", code)], |spec| {
            (spec.client, spec.program) = (client, Some(python.clone()));
        });
    }
    for event in [json!({"a": "ü"}), json!({"bad": 1}), json!({"a": [1.5, null]})] {
        let (own, ric) = (stage.call("own", event.clone()).await, stage.call("ric", event).await);
        let own = own.map(|mut answer| {
            answer["name"] = json!("us-east-1.ric");
            answer
        });
        assert_eq!(own, ric);
    }
}

#[tokio::test]
async fn the_official_clients_port_is_its_workers_alone() {
    if !tool::have(&[Tool::Module("awslambdaric")]) {
        return;
    }
    let mut stage = Stage::new();
    let code = "import os\ndef handler(e, c):\n    return os.environ['AWS_LAMBDA_RUNTIME_API']\n";
    stage.add("ric", PYTHON, "index.handler", &[("index.py", code)], |spec| {
        spec.client = LambdaClient::Official;
        spec.program = Some(tool::folder().join("python/bin/python"));
    });
    let address = stage.call("ric", json!({})).await.unwrap();
    let ask = || {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(address.as_str().unwrap()).unwrap();
        let _ = stream
            .write_all(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    };
    assert_eq!(ask(), b"", "another process was answered");
    assert_eq!(stage.call("ric", json!({})).await.unwrap(), address, "its worker goes on");
}

#[test]
fn unpacked_code_goes_with_its_last_worker() {
    if !has_python() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut stage = Stage::new();
    let zip = |stage: &Stage, n: u32| {
        stage.write("code", &[("index.py", &format!("def handler(e, c):\n    return {n}\n"))]);
        let folder = stage.code("code");
        let made = std::process::Command::new("python3")
            .args(["-m", "zipfile", "-c", "../part", "index.py"])
            .current_dir(&folder)
            .status();
        assert!(made.unwrap().success());
        // At once, as those do who change code under an edge.
        std::fs::rename(folder.with_file_name("part"), folder.with_file_name("f.zip")).unwrap();
    };
    zip(&stage, 1);
    stage.add("f", PYTHON, "index.handler", &[("a", "")], |spec| {
        spec.code = spec.code.with_file_name("f.zip");
    });
    assert_eq!(runtime.block_on(stage.call("f", json!({}))), Ok(json!(1)));
    let store = stage.folder.path().join("lambda/code");
    let unpacked = || std::fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().file_name());
    let first: Vec<_> = unpacked().collect();
    assert_eq!(first.len(), 1);
    // Another process on the same folder, as one that has handed its place over and drains.
    let mark = stage.folder.path().join("lambda/used-by-4294967295-0");
    let other = std::fs::File::create(&mark).unwrap();
    other.lock().unwrap();
    zip(&stage, 22);
    eventually("the new code answers", || {
        runtime.block_on(stage.call("f", json!({}))) == Ok(json!(22))
    });
    assert_eq!(unpacked().count(), 2, "what the other runs stays for as long as that lives");
    drop(other);
    eventually("the old code is gone", || {
        let now: Vec<_> = unpacked().collect();
        now.len() == 1 && now != first
    });
    assert!(!mark.exists(), "and so is what the other process has left");
}

/// An edge whose one behavior has this code at one of the four events.
fn edge_with(origin: &Origin, event: &str, code: &str) -> Edge {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    std::fs::create_dir(folder.path().join("code")).unwrap();
    std::fs::write(folder.path().join("code/index.js"), code).unwrap();
    let lambda = "[lambda.f]\ncode = \"code\"\nhandler = \"index.handler\"\nruntime = \"nodejs20.x\"\n\
                  workers = { min = 0, max = 1 }\n";
    let config = plain(origin.address, lambda) + &format!("functions = {{ {event} = \"f\" }}\n");
    std::fs::write(folder.path().join("edge.toml"), config).unwrap();
    Edge::start_in(folder)
}

#[test]
fn an_origin_request_runs_once_for_what_is_then_kept() {
    if !has_node() {
        return;
    }
    let origin = Origin::start(|asked| fresh(asked.target.as_bytes()));
    let code = "exports.handler = (event, context, callback) => {
        const request = event.Records[0].cf.request;
        request.uri = '/b' + request.uri;
        request.headers['x-event'] = [{ value: event.Records[0].cf.config.eventType }];
        callback(null, request);
    };";
    let edge = edge_with(&origin, "origin_request", code);
    let first = edge.get("/x?a=1");
    assert_eq!((first.status, first.text().as_str()), (200, "/b/x?a=1"));
    assert_eq!(first.cache(), "Miss");
    for _ in 0..3 {
        assert_eq!(edge.get("/x?a=1").cache(), "Hit");
    }
    assert_eq!(edge.metric("foreshore_lambda_invocations_total"), 1.0);
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_herd_of_cold_viewers_makes_one_call() {
    if !has_node() {
        return;
    }
    let origin = Origin::start(|asked| fresh(asked.target.as_bytes()));
    let edge = edge_with(
        &origin,
        "origin_request",
        "exports.handler = async (e) => e.Records[0].cf.request;",
    );
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| assert_eq!(edge.get("/x").status, 200));
        }
    });
    assert_eq!(edge.metric("foreshore_lambda_invocations_total"), 1.0);
    assert_eq!(origin.count(), 1);
}

#[test]
fn an_answer_of_an_origin_request_is_kept_and_no_origin_is_asked() {
    if !has_node() {
        return;
    }
    let origin = Origin::start(|asked| fresh(asked.target.as_bytes()));
    let code = "exports.handler = async () => ({
        status: 200, body: 'made', headers: { 'cache-control': [{ value: 'max-age=60' }] },
    });";
    let edge = edge_with(&origin, "origin_request", code);
    let first = edge.get("/x");
    assert_eq!((first.status, first.text().as_str()), (200, "made"));
    assert_eq!(edge.get("/x").cache(), "Hit");
    assert_eq!(origin.count(), 0);
}

#[test]
fn an_origin_response_is_changed_before_it_is_kept() {
    if !has_node() {
        return;
    }
    let origin = Origin::start(|asked| fresh(asked.target.as_bytes()));
    let code = "exports.handler = async (event) => {
        const { request, response } = event.Records[0].cf;
        response.headers['x-made'] = [{ key: 'X-Made', value: response.status + request.uri }];
        response.body = 'other';
        return response;
    };";
    let edge = edge_with(&origin, "origin_response", code);
    for cache in ["Miss", "Hit"] {
        let answer = edge.get("/x");
        assert_eq!((answer.status, answer.text().as_str()), (200, "other"));
        assert_eq!(answer.field("x-made").as_deref(), Some("200/x"));
        assert_eq!(answer.cache(), cache);
    }
    assert_eq!(edge.metric("foreshore_lambda_invocations_total"), 1.0);
}

#[test]
fn a_request_whose_host_is_taken_out_has_the_origins_own() {
    if !has_node() {
        return;
    }
    let origin = Origin::start(|asked| fresh(asked.field("host").unwrap_or_default().as_bytes()));
    let code = "exports.handler = async (event) => {
        const { request } = event.Records[0].cf;
        delete request.headers.host;
        return request;
    };";
    let answer = edge_with(&origin, "origin_request", code).get("/x");
    assert_eq!((answer.status, answer.text()), (200, origin.address.to_string()));
}

#[test]
fn a_response_may_be_made_anew_and_a_request_is_none() {
    if !has_node() {
        return;
    }
    let origin = Origin::start(|asked| fresh(asked.target.as_bytes()));
    let anew = "exports.handler = async () => ({
        status: '404', headers: { 'x-made': [{ value: 'yes' }] }, body: 'anew',
    });";
    let answer = edge_with(&origin, "origin_response", anew).get("/x");
    assert_eq!((answer.status, answer.text().as_str()), (404, "anew"));
    assert_eq!(answer.field("x-made").as_deref(), Some("yes"));
    let wrong = "exports.handler = async (event) => event.Records[0].cf.request;";
    for event in ["origin_response", "viewer_response"] {
        let answer = edge_with(&origin, event, wrong).get("/x");
        assert_eq!(answer.status, 502, "{event}");
        assert!(answer.text().contains("neither a request nor a response"), "{event}");
    }
}

#[test]
fn failures_have_cloudfronts_status_and_sentence() {
    if !has_node() {
        return;
    }
    let origin = Origin::start(|asked| fresh(asked.target.as_bytes()));
    let thrown = "exports.handler = async () => { throw new Error('hush'); };";
    let added = "exports.handler = async (event) => {
        const request = event.Records[0].cf.request;
        request.headers['x-cache'] = [{ value: 'Hit' }];
        return request;
    };";
    for (code, status, sentence) in
        [(thrown, 503, "is invalid or doesn't have"), (added, 502, "add a blacklisted header")]
    {
        for event in ["origin_request", "viewer_request"] {
            let answer = edge_with(&origin, event, code).get("/x");
            assert_eq!(answer.status, status, "{event}: {}", answer.text());
            assert!(answer.text().contains(sentence), "{event}: {}", answer.text());
            assert!(!answer.text().contains("hush"));
            let word = if status == 503 { "LambdaExecutionError" } else { "LambdaValidationError" };
            assert_eq!(answer.cache(), word, "{event}");
        }
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn functions_at_the_viewer_run_on_hits_too() {
    if !has_node() {
        return;
    }
    let origin = Origin::start(|asked| fresh(asked.target.as_bytes()));
    let code = "let n = 0; exports.handler = async (event) => {
        const response = event.Records[0].cf.response;
        response.headers['x-n'] = [{ value: String(++n) }];
        return response;
    };";
    let edge = edge_with(&origin, "viewer_response", code);
    for n in ["1", "2", "3"] {
        assert_eq!(edge.get("/x").field("x-n").as_deref(), Some(n));
    }
    assert_eq!(origin.count(), 1);
    let code = "exports.handler = async (event) => {
        const request = event.Records[0].cf.request;
        return { status: '302', headers: { location: [{ value: '/to' + request.uri }] } };
    };";
    let edge = edge_with(&origin, "viewer_request", code);
    let answer = edge.get("/x");
    assert_eq!((answer.status, answer.field("location").as_deref()), (302, Some("/to/x")));
    assert_eq!(answer.cache(), "LambdaGeneratedResponse");
    assert_eq!(origin.count(), 1);
}

#[test]
fn the_log_names_the_lambda_that_failed_at_any_event() {
    if !has_node() {
        return;
    }
    let origin = Origin::start(|asked| fresh(asked.target.as_bytes()));
    let code = "exports.handler = async () => { throw new TypeError('no'); };";
    for event in ["viewer_request", "origin_request", "origin_response", "viewer_response"] {
        let edge = edge_with(&origin, event, code);
        assert_eq!(edge.get("/x").status, 503, "{event}");
        let log = edge.path().join("access.log");
        let lines = || std::fs::read_to_string(&log).unwrap_or_default();
        eventually("the request is recorded", || lines().contains("\"status\":503"));
        let record: Value = serde_json::from_str(lines().lines().next().unwrap()).unwrap();
        assert_eq!(record["function"], "f", "{event}");
        assert!(record["function_us"].as_u64().unwrap() > 0, "{event}");
        let error = format!("{} f: LambdaExecutionError: TypeError: no", event.replace('_', "-"));
        assert_eq!(record["function_error"], error, "{event}");
    }
}

#[test]
fn the_log_names_lambdas_in_the_order_in_which_they_ran() {
    if !has_node() {
        return;
    }
    let origin = Origin::start(|asked| fresh(asked.target.as_bytes()));
    let code = "exports.handler = async (event) => {
        const { request, response } = event.Records[0].cf;
        return response || request;
    };";
    let edge = edge_with(&origin, "origin_request = \"f\", viewer_response", code);
    let log = edge.path().join("access.log");
    let lines = || std::fs::read_to_string(&log).unwrap_or_default();
    for recorded in 1..=2 {
        assert_eq!(edge.get("/x").status, 200);
        // Two connections may lie on two cores, which write their records in any order.
        eventually("the request is recorded", || lines().matches('\n').count() == recorded);
    }
    let names: Vec<Value> = lines()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["function"].clone())
        .collect();
    // A hit has no use for what stands before the origin.
    assert_eq!(names, [json!("f,f"), json!("f")]);
}

#[test]
fn what_lambdas_write_and_break_is_told_by_the_groups_of_cloudwatch() {
    if !has_node() {
        return;
    }
    let origin = Origin::start(|asked| fresh(asked.target.as_bytes()));
    let code = "exports.handler = async (event) => {
        const request = event.Records[0].cf.request;
        console.log('seen', request.uri);
        request.uri = 'no\\nuri';
        return request;
    };";
    for event in ["viewer_request", "origin_request"] {
        let edge = edge_with(&origin, event, code);
        assert_eq!(edge.get("/x").status, 502, "{event}");
        let told = || edge.admin("GET", "/v1/function-log?after=0", "").1;
        for words in [
            "INFO\\tseen /x",
            "/aws/lambda/us-east-1.f START RequestId: ",
            "/aws/cloudfront/LambdaEdge/E1 (",
            ") ERROR Validation error: The Lambda function result failed validation: The URI must",
        ] {
            eventually(&format!("{event}: {words}"), || told().contains(words));
        }
        let (_, metrics) = edge.admin("GET", "/metrics", "");
        let counted = "foreshore_lambda_errors_total{function=\"f\",kind=\"validation\"} 1\n";
        assert!(metrics.contains(counted), "{metrics}");
    }
}

#[test]
fn a_zip_above_the_size_of_its_event_is_refused_at_check() {
    let folder = tempfile::tempdir().unwrap();
    let zip = std::fs::File::create(folder.path().join("f.zip")).unwrap();
    zip.set_len((1 << 20) + 1).unwrap();
    for (event, more, is_good) in [
        ("viewer_request", "", false),
        ("viewer_request", "limits = \"none\"\n", true),
        ("origin_request", "", true),
    ] {
        let lambda = format!(
            "[lambda.f]\ncode = \"f.zip\"\nhandler = \"index.handler\"\nruntime = \"nodejs20.x\"\n{more}"
        );
        let config = plain("127.0.0.1:1".parse().unwrap(), &lambda)
            + &format!("functions = {{ {event} = \"f\" }}\n");
        std::fs::write(folder.path().join("edge.toml"), config).unwrap();
        let (code, out, err) = command(folder.path(), &["check", "--config", "edge.toml"]);
        assert_eq!(code == 0, is_good, "{event} {more}: {out}{err}");
        let told = format!("{out}{err}").contains("1048577 Max allowed: 1048576");
        assert_eq!(told, !is_good, "{event} {more}: {out}{err}");
    }
}

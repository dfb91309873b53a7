//! A realm: an engine's world of one runtime and level, hardened, with the functions compiled in it.

use std::rc::Rc;

use rquickjs::context::EvalOptions;
use rquickjs::{
    CatchResultExt, CaughtError, Coerced, Context, Ctx, Error, FromJs, Function, Object,
    Persistent, Runtime, Value,
};

use super::natives::{self, State};
use super::source::Source;
use crate::distribution::functions::{self, Level};
use crate::functions::event::CallFailure;

/// The scripts that make a realm, in their order.
const SCRIPTS: [(&str, &str); 8] = [
    ("engine/prelude.js", include_str!("prelude.js")),
    ("engine/guards.js", include_str!("guards.js")),
    ("engine/buffer.js", include_str!("buffer.js")),
    ("engine/modules.js", include_str!("modules.js")),
    ("engine/cloudfront.js", include_str!("cloudfront.js")),
    ("engine/reading.js", include_str!("reading.js")),
    ("engine/event.js", include_str!("event.js")),
    ("engine/harden.js", include_str!("harden.js")),
];
/// What a function's code is called in a stack.
const FILE: &str = "function.js";
/// Of the thread's stack, from where the realm was made; scripts that go deeper get an error.
const STACK: usize = 512 << 10;
/// Octets of garbage in cycles that may lie about before they are collected.
const GARBAGE: usize = 512 << 10;
/// A realm that has grown by so much is replaced.
const GROWTH_MAX: usize = 8 << 20;
/// A realm in which so many calls were stopped is replaced.
const STOPS_MAX: u32 = 1_000;
/// Characters of a message that are kept.
const MESSAGE_MAX: usize = 1_024;

/// What a realm is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub runtime: functions::Runtime,
    pub level: Level,
}

/// A function that makes a fresh instance of compiled code and gives its handler.
pub struct Compiled {
    pub make: Persistent<Function<'static>>,
}

/// The functions that `event.js` gives.
pub struct Api {
    pub compile: Persistent<Function<'static>>,
    pub start_request: Persistent<Function<'static>>,
    pub start_response: Persistent<Function<'static>>,
    pub take: Persistent<Function<'static>>,
    pub reply: Persistent<Function<'static>>,
    pub mend: Persistent<Function<'static>>,
}

/// One realm. What it holds of the engine's values goes before the engine does, so the order of the
/// fields matters.
pub struct Realm {
    /// By digest. There are few, so looking through them costs less than hashing does.
    compiled: Vec<([u8; 32], Compiled)>,
    pub api: Api,
    pub context: Context,
    runtime: Runtime,
    pub state: Rc<State>,
    /// Octets that the realm held when something was last compiled in it.
    born: usize,
    /// The same when it was last looked at.
    holds: usize,
    stops: u32,
    /// What a call left behind cannot be cleared away.
    spoiled: bool,
}

impl Realm {
    /// Makes a realm; takes some ten milliseconds.
    pub fn new(kind: Kind) -> rquickjs::Result<Self> {
        let runtime = Runtime::new()?;
        runtime.set_max_stack_size(STACK);
        let context = Context::full(&runtime)?;
        let state = Rc::new(State::default());
        let watched = Rc::clone(&state);
        runtime.set_interrupt_handler(Some(Box::new(move || watched.watch.is_late())));
        let api = context.with(|ctx| api(&ctx, kind, &state))?;
        let mut realm = Self {
            compiled: Vec::new(),
            api,
            context,
            runtime,
            state,
            born: 0,
            holds: 0,
            stops: 0,
            spoiled: false,
        };
        realm.weigh_anew();
        Ok(realm)
    }

    /// Looks how much the realm holds, without garbage.
    fn weigh(&mut self) {
        self.runtime.run_gc();
        self.holds = usize::try_from(self.runtime.memory_usage().malloc_size).unwrap_or(0);
    }

    /// The same for a realm in which something was compiled: what it grows is counted from here.
    pub fn weigh_anew(&mut self) {
        self.weigh();
        self.born = self.holds;
    }

    /// Gives a call its memory. Garbage of earlier calls does not count against it.
    pub fn allow(&self, memory: usize) {
        let garbage = self.holds.saturating_add(GARBAGE);
        self.runtime.set_gc_threshold(garbage);
        self.runtime.set_memory_limit(garbage.saturating_add(memory));
    }

    /// Takes the limit away, between calls.
    pub fn allow_all(&self) {
        self.runtime.set_memory_limit(0);
    }

    /// Notes that a call was stopped.
    pub fn note_stop(&mut self) {
        self.stops += 1;
        self.weigh();
    }

    /// Notes whether a call left jobs behind, which would run in the next one.
    pub fn note_jobs(&mut self) {
        self.spoiled |= self.runtime.is_job_pending();
    }

    /// Says whether the realm has to be replaced.
    pub fn is_worn(&self) -> bool {
        self.spoiled || self.stops >= STOPS_MAX || self.holds > self.born.saturating_add(GROWTH_MAX)
    }

    /// The compiled code of a digest.
    pub fn compiled(&self, digest: &[u8; 32]) -> Option<&Compiled> {
        self.compiled.iter().find(|(known, _)| known == digest).map(|(_, compiled)| compiled)
    }

    /// Forgets code that is used no more.
    pub fn retain(&mut self, is_used: impl Fn(&[u8; 32]) -> bool) {
        self.compiled.retain(|(digest, _)| is_used(digest));
    }

    /// Compiles a function.
    pub fn compile(&mut self, function: &functions::Function) -> Result<(), CallFailure> {
        let source = Source::scan(&function.source).map_err(CallFailure::NotCompiled)?;
        let made = self.context.with(|ctx| {
            let made = compile(&ctx, &self.api, &source).catch(&ctx);
            made.map_err(|error| CallFailure::NotCompiled(words(&ctx, &error)))
        })?;
        self.compiled.push((function.digest, Compiled { make: made }));
        Ok(())
    }
}

fn api(ctx: &Ctx<'_>, kind: Kind, state: &Rc<State>) -> rquickjs::Result<Api> {
    let native = natives::object(ctx, state)?;
    let shared = Object::new(ctx.clone())?;
    let options = Object::new(ctx.clone())?;
    options.set("level", if kind.level == Level::Any { "any" } else { "cloudfront" })?;
    options.set("runtime", if kind.runtime == functions::Runtime::Js1 { 1 } else { 2 })?;
    let mut given = None;
    for (name, text) in SCRIPTS {
        let script = evaluate(ctx, name, text.to_string())?;
        let globals = ctx.globals();
        let value: Value<'_> =
            script.call((globals, native.clone(), shared.clone(), options.clone()))?;
        given = value.into_object().or(given);
    }
    let given = given.ok_or(Error::Unknown)?;
    let find = |name: &str| -> rquickjs::Result<Persistent<Function<'static>>> {
        let function: Function<'_> = given.get(name)?;
        Ok(Persistent::save(ctx, function))
    };
    Ok(Api {
        compile: find("compile")?,
        start_request: find("startRequest")?,
        start_response: find("startResponse")?,
        take: find("take")?,
        reply: find("reply")?,
        mend: find("mend")?,
    })
}

fn evaluate<'js>(ctx: &Ctx<'js>, name: &str, text: String) -> rquickjs::Result<Function<'js>> {
    let mut options = EvalOptions::default();
    options.filename = Some(name.to_string());
    ctx.eval_with_options(text, options)
}

fn compile(
    ctx: &Ctx<'_>,
    api: &Api,
    source: &Source,
) -> rquickjs::Result<Persistent<Function<'static>>> {
    // First the code itself: its mistakes are to be named, not those of the probe.
    let outer = evaluate(ctx, FILE, source.wrapped())?;
    evaluate(ctx, FILE, source.probe())?;
    let names: Vec<String> = source.imports.iter().map(|(_, module)| module.clone()).collect();
    let compile = api.compile.clone().restore(ctx)?;
    let made: Function<'_> = compile.call((outer, names, source.wants_global))?;
    Ok(Persistent::save(ctx, made))
}

/// Why a call failed, when it was not late.
pub fn failure<'js>(ctx: &Ctx<'js>, error: &CaughtError<'js>) -> CallFailure {
    let is_memory = match error {
        CaughtError::Error(error) => matches!(error, Error::Allocation),
        CaughtError::Exception(thrown) => {
            let message = thrown.message().unwrap_or_default();
            message == "out of memory" || message == "string too long"
        }
        // The engine throws null where there is no memory left for an error.
        CaughtError::Value(thrown) => thrown.is_null(),
    };
    if is_memory { CallFailure::TooMuchMemory } else { CallFailure::Threw(words(ctx, error)) }
}

// What was thrown, in words, with the line of the code where it is known.
fn words<'js>(ctx: &Ctx<'js>, error: &CaughtError<'js>) -> String {
    let mut words = match error {
        CaughtError::Error(error) => error.to_string(),
        CaughtError::Exception(thrown) => {
            let name = thrown.get::<_, Option<Coerced<String>>>("name").ok().flatten();
            let name = name.map_or_else(|| "Error".to_string(), |name| name.0);
            let text = format!("{name}: {}", thrown.message().unwrap_or_default());
            match thrown.stack().as_deref().and_then(line_of) {
                Some(line) => format!("line {line}: {text}"),
                None => text,
            }
        }
        CaughtError::Value(thrown) => match Coerced::<String>::from_js(ctx, thrown.clone()) {
            Ok(text) => text.0,
            Err(_) => thrown.type_name().to_string(),
        },
    };
    // Asking for the words may have thrown in its turn.
    ctx.catch();
    words.truncate(words.floor_char_boundary(MESSAGE_MAX));
    words
}

// The first place of a stack that is in the function's own code.
fn line_of(stack: &str) -> Option<u32> {
    let (_, rest) = stack.split_once(FILE)?;
    let digits = rest.strip_prefix(':')?;
    let end = digits.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_in_stacks() {
        for (stack, wanted) in [
            ("    at handler (function.js:3:5)\n    at start (engine/event.js:1:1)\n", Some(3)),
            ("    at parse (native)\n    at handler (function.js:12:5)\n", Some(12)),
            ("    at function.js:4:10\n", Some(4)),
            ("    at start (engine/event.js:1:1)\n", None),
            ("", None),
        ] {
            assert_eq!(line_of(stack), wanted, "{stack}");
        }
    }
}

//! Functions of the API, whichever way a caller comes: made, changed, published, tried, removed, and
//! each change put in force before it is answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::apply::Step;
use super::rules::mismatch;
use super::xml::Fault;
use crate::cloudfront::live;
use crate::config::CODE_MAX_ANY;
use crate::control::Control;
use crate::distribution::functions::{Attached, Function, Kept, Level, Runtime};
use crate::distribution::site::Site;
use crate::distribution::stores::{id_of_arn, is_name};
use crate::documents::function::{Coded, FunctionStages, Stage, StoreOf, version_of};
use crate::documents::shelf::{Document, Documents, Kind, match_version};
use crate::functions::level::{MAX_CODE, Severity, check};
use crate::functions::test_event::TestEvent;

/// Functions of an account (CloudFront's quota).
const FUNCTIONS_MAX: usize = 100;
/// Most letters of a comment.
const COMMENT_MAX: usize = 128;
/// Octets of lines that a call that is tried may write.
#[cfg(feature = "functions")]
const LINES_MAX: usize = 10 << 10;

/// What is to stand in DEVELOPMENT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub comment: String,
    /// `cloudfront-js-1.0` or `cloudfront-js-2.0`.
    pub runtime: String,
    /// Key value stores, by ARN or by name; at most one.
    pub stores: Vec<String>,
    pub code: Vec<u8>,
    /// Of one that is made.
    pub tags: BTreeMap<String, String>,
}

/// A function of the API as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub name: String,
    pub stages: FunctionStages,
    /// Where it stands: distribution, path and event, a text each.
    pub users: Vec<String>,
}

impl Shown {
    /// The version of a stage that callers name; `None` where nothing stands there.
    pub fn version(&self, stage: Stage) -> Option<String> {
        self.stages.at(stage).map(|coded| version_of(&self.name, stage, coded))
    }

    /// CloudFront's word for the state of a stage.
    pub fn status(&self, stage: Stage) -> &'static str {
        let development = &self.stages.development;
        let is_live = stage == Stage::Live
            || self.stages.live.as_ref().is_some_and(|live| live.is_same(development));
        match (is_live, self.users.is_empty()) {
            (false, _) => "UNPUBLISHED",
            (true, false) => "DEPLOYED",
            (true, true) => "UNASSOCIATED",
        }
    }
}

/// What came of a call that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Percent.
    pub utilisation: u8,
    pub lines: Vec<String>,
    /// Empty where nothing went wrong.
    pub error: String,
    /// JSON, as the function gave it back; empty where it failed.
    pub output: String,
}

/// Where a function of a site stands: distribution, path and event.
pub fn users(site: &Site, name: &str) -> Vec<String> {
    let mut all = Vec::new();
    for distribution in &site.distributions {
        for behavior in &distribution.behaviors {
            let Some(hooks) = &behavior.hooks else { continue };
            let events = [
                ("viewer-request", hooks.viewer_request),
                ("viewer-response", hooks.viewer_response),
            ];
            for (event, at) in events {
                let Some(Attached::Function(at)) = at else { continue };
                if *site.functions[at].name == *name {
                    let pattern = behavior.pattern.as_str();
                    all.push(format!("{} {pattern} {event}", distribution.id));
                }
            }
        }
    }
    all
}

fn invalid(why: &str) -> Fault {
    Fault::new(400, "InvalidArgument", why)
}

fn unknown() -> Fault {
    Fault::new(404, "NoSuchFunctionExists", "The specified function does not exist.")
}

fn found(documents: &Documents, name: &str) -> Result<(Arc<Document>, FunctionStages), Fault> {
    let document = documents.get(Kind::Function, name).ok_or_else(unknown)?;
    let stages = FunctionStages::of(document).map_err(|_| unknown())?;
    Ok((Arc::clone(document), stages))
}

// The one who names this version of a stage may go on.
fn expect(
    name: &str,
    (stage, coded): (Stage, &Coded),
    if_match: Option<&str>,
) -> Result<(), Fault> {
    match_version(&version_of(name, stage, coded), if_match).map_err(mismatch)
}

impl Control {
    /// All functions of the API, by name.
    pub fn functions(&self) -> Vec<Shown> {
        let documents = self.documents.lock().clone();
        let running = self.edge.running();
        let all = documents.of(Kind::Function);
        all.filter_map(|document| {
            let stages = FunctionStages::of(document).ok()?;
            Some(self.shown(&running.site, &document.id, stages))
        })
        .collect()
    }

    /// One function of the API.
    pub fn function(&self, name: &str) -> Result<Shown, Fault> {
        let documents = self.documents.lock().clone();
        let (_, stages) = found(&documents, name)?;
        Ok(self.shown(&self.edge.running().site, name, stages))
    }

    fn shown(&self, site: &Site, name: &str, stages: FunctionStages) -> Shown {
        Shown { name: name.to_string(), stages, users: users(site, name) }
    }

    /// Makes a function, in DEVELOPMENT.
    pub fn create_function(&self, who: &str, name: &str, wanted: &Wanted) -> Result<Shown, Fault> {
        let mut documents = self.documents.lock();
        let running = self.edge.running();
        let site = &running.site;
        self.may_change(site)?;
        if !is_name(name) {
            return Err(invalid(
                "Name: it has one to 64 letters, digits, hyphens and underscores.",
            ));
        }
        if documents.get(Kind::Function, name).is_some() || is_of_files(site, name) {
            let why = "A function with the same name already exists, here or in the configuration.";
            return Err(Fault::new(409, "FunctionAlreadyExists", why));
        }
        if documents.count(Kind::Function) >= FUNCTIONS_MAX {
            let why = format!("There are {FUNCTIONS_MAX} functions already.");
            return Err(Fault::new(400, "TooManyFunctions", &why));
        }
        let now = self.edge.clock.now().0;
        let development = self.coded(wanted, site, (now, now, 1))?;
        let stages = FunctionStages { development, live: None };
        let tags = wanted.tags.clone();
        let document = Document { tags, ..Document::new(name, stages.config(), now) };
        self.apply(&mut documents, Step::Keep(Kind::Function, &document))?;
        audit(who, "CreateFunction", name, &stages);
        Ok(self.shown(&self.edge.running().site, name, stages))
    }

    /// Changes what stands in DEVELOPMENT, for a caller that names its version.
    pub fn update_function(
        &self,
        who: &str,
        name: &str,
        if_match: Option<&str>,
        wanted: &Wanted,
    ) -> Result<Shown, Fault> {
        let mut documents = self.documents.lock();
        let running = self.edge.running();
        let site = &running.site;
        self.may_change(site)?;
        let (known, stages) = found(&documents, name)?;
        let before = &stages.development;
        expect(name, (Stage::Development, before), if_match)?;
        let now = self.edge.clock.now().0;
        let development = self.coded(wanted, site, (before.created, now, before.number + 1))?;
        let next = FunctionStages { development, live: stages.live };
        let document = known.with_config(next.config(), now);
        self.apply(&mut documents, Step::Keep(Kind::Function, &document))?;
        audit(who, "UpdateFunction", name, &next);
        Ok(self.shown(&self.edge.running().site, name, next))
    }

    /// Makes what stands in DEVELOPMENT what behaviors run, whatever kept it from running before.
    pub fn publish_function(
        &self,
        who: &str,
        name: &str,
        if_match: Option<&str>,
    ) -> Result<Shown, Fault> {
        let mut documents = self.documents.lock();
        self.may_change(&self.edge.running().site)?;
        let (known, stages) = found(&documents, name)?;
        expect(name, (Stage::Development, &stages.development), if_match)?;
        let now = self.edge.clock.now().0;
        let next = stages.published(now);
        let document = known.with_config(next.config(), now);
        self.apply(&mut documents, Step::Keep(Kind::Function, &document))?;
        let running = self.edge.running();
        let mut all = running.site.functions.iter();
        if let Some(at) = all.position(|known| *known.name == *name) {
            running.functions.forgive(at);
        }
        audit(who, "PublishFunction", name, &next);
        Ok(self.shown(&running.site, name, next))
    }

    /// Removes a function that stands nowhere.
    pub fn delete_function(
        &self,
        who: &str,
        name: &str,
        if_match: Option<&str>,
    ) -> Result<(), Fault> {
        let mut documents = self.documents.lock();
        let running = self.edge.running();
        let site = &running.site;
        self.may_change(site)?;
        let (_, stages) = found(&documents, name)?;
        expect(name, (Stage::Development, &stages.development), if_match)?;
        if let Some(user) = user_of(name, site, &documents) {
            let why = format!("Cannot delete the function, it is in use by {user}.");
            return Err(Fault::new(409, "FunctionInUse", &why));
        }
        self.apply(&mut documents, Step::Remove(Kind::Function, name))?;
        audit(who, "DeleteFunction", name, &stages);
        Ok(())
    }

    // What a caller wants, if it can be run: `(created, modified, number)` is its version.
    fn coded(
        &self,
        wanted: &Wanted,
        site: &Site,
        (created, modified, number): (u64, u64, u64),
    ) -> Result<Coded, Fault> {
        if wanted.comment.chars().count() > COMMENT_MAX {
            let why = format!("FunctionConfig.Comment: it has at most {COMMENT_MAX} letters.");
            return Err(invalid(&why));
        }
        let runtime = Runtime::of(&wanted.runtime).ok_or_else(|| {
            invalid("FunctionConfig.Runtime: it is cloudfront-js-1.0 or cloudfront-js-2.0.")
        })?;
        let store = self.store_of(runtime, &wanted.stores)?;
        let code = runnable(&wanted.code, runtime, site.function_settings.level)?;
        Ok(Coded {
            comment: wanted.comment.clone(),
            runtime: runtime.word().into(),
            store,
            code,
            created,
            modified,
            number,
        })
    }

    fn store_of(&self, runtime: Runtime, named: &[String]) -> Result<Option<StoreOf>, Fault> {
        let place = "FunctionConfig.KeyValueStoreAssociations";
        let wrong = |why: String| Err(invalid(&format!("{place}: {why}.")));
        let [first, rest @ ..] = named else { return Ok(None) };
        if !rest.is_empty() {
            return wrong("a function reads one key value store at most".into());
        }
        if runtime == Runtime::Js1 {
            return wrong("code in cloudfront-js-1.0 has no key value store".into());
        }
        let stores = &self.edge.stores;
        let store = match id_of_arn(first) {
            Some(id) => stores.find_id(id),
            None => stores.find(first),
        };
        match store {
            Some(store) => {
                let (name, id) = (store.name().to_string(), store.values().id().to_string());
                Ok(Some(StoreOf { name, id }))
            }
            None => wrong(format!("there is no key value store {first}")),
        }
    }

    /// Calls the code of a stage with an event, for a caller that names its version. No rule about
    /// headers is looked at, as CloudFront's own test looks at none.
    pub fn try_function(
        &self,
        name: &str,
        stage: Stage,
        if_match: Option<&str>,
        event: &[u8],
    ) -> Result<(Shown, Tried), Fault> {
        let shown = self.function(name)?;
        let coded = shown.stages.at(stage).ok_or_else(unknown)?;
        expect(name, (stage, coded), if_match)?;
        let told = TestEvent::read(event).map_err(|bad| invalid(&bad.to_string()))?;
        let runtime = Runtime::of(&coded.runtime).ok_or_else(unknown)?;
        let level = self.edge.running().site.function_settings.level;
        let function = Arc::new(Function {
            name: name.into(),
            runtime,
            level,
            source: coded.code.as_str().into(),
            // It is the only one of its engine.
            digest: [0; 32],
            store: None,
            kept: Kept::Api,
        });
        let store = coded.store.as_ref().map(|store| store.name.as_str());
        let tried = self.tried(&function, store, &told)?;
        Ok((shown, tried))
    }

    #[cfg(feature = "functions")]
    fn tried(
        &self,
        function: &Arc<Function>,
        store: Option<&str>,
        told: &TestEvent,
    ) -> Result<Tried, Fault> {
        use crate::functions::engine::Engine;
        use crate::functions::event::StoreView;
        use crate::functions::event_json;
        let limits = self.edge.running().site.function_settings.limits;
        let values = store.and_then(|name| self.edge.stores.find(name)).map(|one| one.values());
        let values = values.as_deref().map(|values| values as &dyn StoreView);
        let mut engine = Engine::new(limits);
        engine.prepare(std::slice::from_ref(function));
        let (mut lines, mut octets) = (Vec::new(), 0);
        let event = told.event();
        let now = self.edge.clock.now().0;
        let (returned, spent) = engine.call(function, &event, values, now, &mut |line: &str| {
            octets += line.len();
            if octets <= LINES_MAX {
                lines.push(line.to_string());
            }
        });
        let (output, error) = match returned {
            Ok(returned) => (event_json::output(&event, &returned).to_string(), String::new()),
            Err(failure) => (String::new(), failure.words()),
        };
        Ok(Tried { utilisation: spent.utilisation, lines, error, output })
    }

    #[cfg(not(feature = "functions"))]
    fn tried(&self, _: &Arc<Function>, _: Option<&str>, _: &TestEvent) -> Result<Tried, Fault> {
        let why = "This program was built without CloudFront Functions.";
        Err(Fault::new(500, "TestFunctionFailed", why))
    }
}

fn is_of_files(site: &Site, name: &str) -> bool {
    let is_function = |known: &Arc<Function>| *known.name == *name && known.kept == Kept::File;
    site.functions.iter().any(is_function) || site.lambdas.iter().any(|known| known.name == name)
}

// What names a function of the API: a behavior of the site, or a distribution that is left aside.
fn user_of(name: &str, site: &Site, documents: &Documents) -> Option<String> {
    let is_ours = |known: &Arc<Function>| *known.name == *name && known.kept != Kept::File;
    if site.functions.iter().any(is_ours)
        && let Some(user) = users(site, name).into_iter().next()
    {
        return Some(user);
    }
    let mut all = documents.of(Kind::Distribution);
    let names = |one: &&Arc<Document>| {
        let named = live::named(Kind::Distribution, &one.config);
        named.iter().any(|(of, id, _)| *of == Kind::Function && id == name)
    };
    all.find(names).map(|one| one.id.clone())
}

// Code that an engine can run, as text.
fn runnable(code: &[u8], runtime: Runtime, level: Level) -> Result<String, Fault> {
    let most = match level {
        Level::CloudFront => MAX_CODE,
        Level::Any => CODE_MAX_ANY,
    };
    if code.len() > most {
        let why = format!("The code has {} octets, and may have {most}.", code.len());
        return Err(Fault::new(413, "FunctionSizeLimitExceeded", &why));
    }
    let Ok(text) = std::str::from_utf8(code) else {
        return Err(invalid("FunctionCode: it is not UTF-8."));
    };
    let all = check(text, runtime, level);
    let errors = all.iter().filter(|finding| finding.severity == Severity::Error);
    let errors: Vec<String> = errors.map(ToString::to_string).collect();
    if errors.is_empty() { Ok(text.to_string()) } else { Err(invalid(&errors.join("\n"))) }
}

// A line for each change: who, what, and the versions now.
fn audit(who: &str, action: &str, name: &str, stages: &FunctionStages) {
    let resource = format!("function/{name}");
    let after = version_of(name, Stage::Development, &stages.development);
    let live = stages.live.as_ref().map(|live| version_of(name, Stage::Live, live));
    let live = live.unwrap_or_default();
    tracing::info!(who, action, resource, after, live, "changed by the API");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_refused_with_the_lines_of_all_that_is_wrong() {
        let fine = "function handler(event) { return event.request; }";
        let run = |code: &[u8], level| runnable(code, Runtime::Js2, level);
        assert_eq!(run(fine.as_bytes(), Level::CloudFront).as_deref(), Ok(fine));
        let two = "function handler(event) {\n  for (var a of []) {}\n  return {...event};\n}";
        let fault = run(two.as_bytes(), Level::CloudFront).unwrap_err();
        assert_eq!((fault.status, fault.code), (400, "InvalidArgument"));
        let lines: Vec<&str> = fault.message().lines().collect();
        assert_eq!(lines.len(), 2, "{}", fault.message());
        assert!(lines[0].starts_with("line 2: ") && lines[1].starts_with("line 3: "));
        assert!(run(two.as_bytes(), Level::Any).is_ok());
        let long = format!("{fine}{}", " ".repeat(MAX_CODE));
        let fault = run(long.as_bytes(), Level::CloudFront).unwrap_err();
        assert_eq!((fault.status, fault.code), (413, "FunctionSizeLimitExceeded"));
        assert!(fault.message().contains("10240"), "{}", fault.message());
        assert!(run(long.as_bytes(), Level::Any).is_ok());
        assert_eq!(run(b"\xff", Level::Any).unwrap_err().code, "InvalidArgument");
        assert_eq!(run(b"var a = 1;", Level::Any).unwrap_err().code, "InvalidArgument");
    }

    #[test]
    fn a_status_says_whether_viewers_meet_it() {
        let coded = |code: &str| Coded {
            comment: String::new(),
            runtime: "cloudfront-js-2.0".into(),
            store: None,
            code: code.into(),
            created: 1,
            modified: 1,
            number: 1,
        };
        let stages = FunctionStages { development: coded("a"), live: None };
        let shown = |stages: &FunctionStages, users: &[&str]| Shown {
            name: "f".into(),
            stages: stages.clone(),
            users: users.iter().map(ToString::to_string).collect(),
        };
        let first = shown(&stages, &[]);
        assert_eq!(first.status(Stage::Development), "UNPUBLISHED");
        assert_eq!(first.version(Stage::Live), None);
        let live = stages.published(2);
        let of = |one: &Shown| Stage::ALL.map(|stage| one.status(stage));
        assert_eq!(of(&shown(&live, &[])), ["UNASSOCIATED"; 2]);
        assert_eq!(of(&shown(&live, &["E1 * viewer-request"])), ["DEPLOYED"; 2]);
        let ahead = FunctionStages { development: coded("b"), ..live };
        assert_eq!(of(&shown(&ahead, &[])), ["UNPUBLISHED", "UNASSOCIATED"]);
    }
}

//! The engine that runs CloudFront Functions: QuickJS, one for each core, on the core's own thread.
//!
//! Each call gets a fresh instance of its function in a realm that is hardened: nothing that a call
//! does to the realm's own objects stays, it has what CloudFront's engine has, and it is stopped
//! when it takes more time or memory than it may. What the code does not touch of the event is not
//! made, and what it did not change is not read back.
//!
//! This holds accidents and bugs of the operator's own functions. It is no wall against hostile
//! code: an operator of the language on texts of a megabyte is not asked for its time, and what
//! QuickJS does wrong is done in this process.

mod call;
mod memo;
mod natives;
mod origin;
mod reads;
mod realm;
mod returned;
mod source;
mod told;
mod watch;
mod weight;

use std::collections::HashMap;
use std::sync::Arc;

use self::call::Terms;
use self::memo::Memo;
pub use self::memo::Recalled;
use self::realm::{Kind, Realm};
use self::told::Told;
use super::event::{CallFailure, Event, Remembered, Returned, Spent, StoreView};
use crate::distribution::functions::{Function, FunctionLimits, Level, Runtime};

/// One core's engine. It stays on the thread that made it.
pub struct Engine {
    limits: FunctionLimits,
    /// By `place_of`; made when the first function of their kind is.
    realms: [Option<Realm>; 4],
    /// What the engine was made ready for.
    functions: Vec<Arc<Function>>,
    /// What does not compile, by digest, and why.
    failures: HashMap<[u8; 32], CallFailure>,
    memo: Memo,
}

const fn place_of(function: &Function) -> usize {
    let runtime = match function.runtime {
        Runtime::Js1 => 0,
        Runtime::Js2 => 1,
    };
    let level = match function.level {
        Level::CloudFront => 0,
        Level::Any => 2,
    };
    runtime + level
}

impl Engine {
    /// An engine that has made nothing ready yet.
    pub fn new(limits: FunctionLimits) -> Self {
        Self {
            limits,
            realms: [const { None }; 4],
            functions: Vec::new(),
            failures: HashMap::new(),
            memo: Memo::new(limits.remember),
        }
    }

    /// Makes ready for these functions and forgets all others. What is compiled already stays. The
    /// first function of a runtime and level costs some ten milliseconds.
    pub fn prepare(&mut self, functions: &[Arc<Function>]) {
        self.functions = functions.to_vec();
        self.failures.clear();
        self.memo = Memo::new(self.limits.remember);
        let is_used =
            |digest: &[u8; 32]| functions.iter().any(|function| function.digest == *digest);
        for (place, slot) in self.realms.iter_mut().enumerate() {
            if functions.iter().all(|function| place_of(function) != place) {
                *slot = None;
            }
            if let Some(realm) = slot {
                realm.retain(is_used);
            }
        }
        for function in functions {
            self.make_ready(function);
        }
        for realm in self.realms.iter_mut().flatten() {
            realm.weigh_anew();
        }
    }

    /// Why a function that the engine was made ready for cannot be called, if it cannot.
    pub fn problem(&self, function: &Function) -> Option<&CallFailure> {
        self.failures.get(&function.digest)
    }

    // Compiles a function unless that was done; notes why, if it cannot be.
    fn make_ready(&mut self, function: &Function) {
        let place = place_of(function);
        if self.realms[place].is_none() {
            let kind = Kind { runtime: function.runtime, level: function.level };
            match Realm::new(kind) {
                Ok(made) => self.realms[place] = Some(made),
                Err(error) => {
                    let why = format!("the engine could not start: {error}");
                    self.failures.insert(function.digest, CallFailure::NotCompiled(why));
                    return;
                }
            }
        }
        let Some(realm) = &mut self.realms[place] else { return };
        if realm.compiled(&function.digest).is_none()
            && let Err(failure) = realm.compile(function)
        {
            self.failures.insert(function.digest, failure);
        }
    }

    /// What a call of a function would come to, where one is remembered that was told the same as
    /// far as the code looked.
    pub fn recall(&mut self, function: &Function, event: &Event<'_>) -> Option<Recalled> {
        self.memo.recall(&function.digest, event)
    }

    /// What is remembered of a function.
    pub fn kept(&self, function: &Function) -> Remembered {
        self.memo.kept(&function.digest)
    }

    /// The same as `ask`, and what came back has all headers, not only those that changed.
    pub fn call(
        &mut self,
        function: &Function,
        event: &Event<'_>,
        values: Option<&dyn StoreView>,
        moment: u64,
        log: &mut dyn FnMut(&str),
    ) -> (Result<Returned, CallFailure>, Spent) {
        let (returned, spent) = self.ask(function, event, values, moment, log);
        let mut told = Told::default();
        told.fill(event);
        (returned.map(|returned| returned::whole(returned, &told)), spent)
    }

    /// Calls a function. `values` is what its key value store holds, `moment` what its clock says
    /// (milliseconds since the epoch); `log` is given each line that it writes.
    pub fn ask(
        &mut self,
        function: &Function,
        event: &Event<'_>,
        values: Option<&dyn StoreView>,
        moment: u64,
        log: &mut dyn FnMut(&str),
    ) -> (Result<Returned, CallFailure>, Spent) {
        let place = place_of(function);
        let is_known = |realm: &Realm| realm.compiled(&function.digest).is_some();
        if !self.failures.contains_key(&function.digest)
            && !self.realms[place].as_ref().is_some_and(is_known)
        {
            self.make_ready(function);
            if let Some(realm) = &mut self.realms[place] {
                realm.weigh_anew();
            }
        }
        if let Some(failure) = self.failures.get(&function.digest) {
            return (Err(failure.clone()), Spent::default());
        }
        let limits = self.limits;
        let realm = self.realms[place].as_ref();
        let Some((realm, compiled)) =
            realm.and_then(|realm| Some((realm, realm.compiled(&function.digest)?)))
        else {
            // What is not compiled by now is among the failures.
            return (Err(CallFailure::NotCompiled(String::new())), Spent::default());
        };
        let terms = Terms { stop: limits.stop, memory: limits.memory, moment, values };
        let outcome = call::call(realm, compiled, event, &terms);
        let nanos = realm.state.watch.end();
        realm.state.log.borrow().lines.iter().for_each(|line| log(line));
        let spent = spent(nanos, limits);
        // What other levels have may tell the time, or what was collected.
        if function.level == Level::CloudFront
            && let Ok(returned) = &outcome
            && let Some(reads) = realm.state.reads.of_call()
        {
            let told = realm.state.told.borrow();
            let (asked, read) = ((&function.digest, event), (&*told, reads.as_slice()));
            self.memo.remember(asked, read, returned, spent.utilisation);
        }
        self.clear_up(place, outcome.as_ref().err());
        (outcome, spent)
    }

    // After a call: nothing of it may be there for the next one.
    fn clear_up(&mut self, place: usize, failure: Option<&CallFailure>) {
        let Some(realm) = &mut self.realms[place] else { return };
        realm.allow_all();
        if matches!(failure, Some(CallFailure::TooLong | CallFailure::TooMuchMemory)) {
            realm.note_stop();
        }
        // A getter of what was returned may leave some, too.
        realm.note_jobs();
        if realm.is_worn() {
            self.realms[place] = None;
            for function in self.functions.clone() {
                if place_of(&function) == place {
                    self.make_ready(&function);
                }
            }
            if let Some(realm) = &mut self.realms[place] {
                realm.weigh_anew();
            }
        }
    }
}

fn spent(nanos: u64, limits: FunctionLimits) -> Spent {
    let budget = limits.budget.as_nanos().max(1);
    let percent = (u128::from(nanos) * 100 / budget).min(100);
    Spent { utilisation: u8::try_from(percent).unwrap_or(100), nanos }
}

#[cfg(test)]
mod tests;

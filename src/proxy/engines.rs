//! The engine of CloudFront Functions that each core has for itself. It is made once there are
//! functions, and made ready for those of a site when that comes into force, not on a request.

use std::cell::Cell;
use std::sync::Arc;

use super::Running;
use crate::distribution::functions::Function;
use crate::distribution::site::Site;
#[cfg(feature = "functions")]
use crate::functions::event::StoreView;
use crate::functions::event::{CallFailure, Event, Remembered, Spent};
#[cfg(feature = "functions")]
use crate::functions::rules;
use crate::functions::rules::{Change, Invalid};
use crate::semantics::time::Timestamp;

thread_local! {
    static CORE: Cell<usize> = const { Cell::new(0) };
}

/// Notes which core this thread is.
pub fn note_core(index: usize) {
    CORE.set(index);
}

/// Which core this thread is: its counters have no other writer.
pub fn core() -> usize {
    CORE.get()
}

/// What a call came to, and what it cost.
pub struct Called {
    pub judged: Result<Result<Change, Invalid>, CallFailure>,
    pub spent: Spent,
    /// What this core remembers of the function's results; `None`: this is one of them, and the
    /// code was not asked.
    pub kept: Option<Remembered>,
}

#[cfg(feature = "functions")]
mod own {
    use std::cell::RefCell;

    use crate::distribution::functions::FunctionLimits;
    use crate::functions::engine::Engine;

    /// One core's engine.
    pub struct Own {
        pub limits: FunctionLimits,
        pub engine: Engine,
        /// The digests of the functions that it was made ready for.
        pub ready_for: Vec<[u8; 32]>,
    }

    thread_local! {
        pub static OWN: RefCell<Option<Own>> = const { RefCell::new(None) };
    }

    /// The engine, under these limits.
    pub fn under(own: &mut Option<Own>, limits: FunctionLimits) -> &mut Own {
        if own.as_ref().is_some_and(|own| own.limits != limits) {
            *own = None;
        }
        let new = || Own { limits, engine: Engine::new(limits), ready_for: Vec::new() };
        own.get_or_insert_with(new)
    }
}

/// Makes this core's engine ready for the functions of a site. Costs little where it is already.
#[cfg(feature = "functions")]
pub fn prepare(site: &Site) {
    if site.functions.is_empty() {
        return;
    }
    own::OWN.with_borrow_mut(|own| {
        let own = own::under(own, site.function_settings.limits);
        let wanted = site.functions.iter().map(|function| function.digest);
        if !wanted.clone().eq(own.ready_for.iter().copied()) {
            own.engine.prepare(&site.functions);
            own.ready_for = wanted.collect();
        }
    });
}

/// Calls a function on this core, or remembers what it would come to, and judges that by the rules.
/// `log` is given each line that it writes.
#[cfg(feature = "functions")]
pub fn call(
    running: &Running,
    function: &Arc<Function>,
    event: &Event<'_>,
    now: Timestamp,
    log: &mut dyn FnMut(&str),
) -> Called {
    own::OWN.with_borrow_mut(|own| {
        let own = own::under(own, running.site.function_settings.limits);
        if let Some(recalled) = own.engine.recall(function, event) {
            // Its share of the budget is the code's, whether it runs or not; it took no time.
            let spent = Spent { utilisation: recalled.utilisation, nanos: 0 };
            return Called { judged: Ok(recalled.judged), spent, kept: None };
        }
        // One moment of its store, however long it runs.
        let store = function.store.and_then(|at| running.stores.get(at));
        let store = store.map(|store| store.values());
        let view = store.as_deref().map(|values| values as &dyn StoreView);
        let (returned, spent) = own.engine.ask(function, event, view, now.0, log);
        let judged = returned.map(|returned| rules::judge(event, &returned));
        Called { judged, spent, kept: Some(own.engine.kept(function)) }
    })
}

/// Without the engine there is nothing to make ready: no configuration with functions loads.
#[cfg(not(feature = "functions"))]
pub const fn prepare(_: &Site) {}

/// Calls nothing.
#[cfg(not(feature = "functions"))]
pub fn call(
    _: &Running,
    _: &Arc<Function>,
    _: &Event<'_>,
    _: Timestamp,
    _: &mut dyn FnMut(&str),
) -> Called {
    let why = "this program was built without CloudFront Functions".to_string();
    let judged = Err(CallFailure::NotCompiled(why));
    Called { judged, spent: Spent::default(), kept: Some(Remembered::default()) }
}

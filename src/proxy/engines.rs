//! The engine of CloudFront Functions that each core has for itself. It is made once there are
//! functions, and made ready for those of a site when that comes into force, not on a request.

use std::cell::Cell;
use std::sync::Arc;

use super::Running;
use crate::distribution::functions::Function;
use crate::distribution::site::Site;
#[cfg(feature = "functions")]
use crate::functions::event::StoreView;
use crate::functions::event::{CallFailure, Event, Returned, Spent};
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
pub type Called = (Result<Returned, CallFailure>, Spent);

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

/// Calls a function on this core. `log` is given each line that it writes.
#[cfg(feature = "functions")]
pub fn call(
    running: &Running,
    function: &Arc<Function>,
    event: &Event<'_>,
    now: Timestamp,
    log: &mut dyn FnMut(&str),
) -> Called {
    // One moment of its store, however long it runs.
    let store = function.store.and_then(|at| running.stores.get(at)).map(|store| store.values());
    let view = store.as_deref().map(|values| values as &dyn StoreView);
    own::OWN.with_borrow_mut(|own| {
        let own = own::under(own, running.site.function_settings.limits);
        own.engine.call(function, event, view, now.0, log)
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
    (Err(CallFailure::NotCompiled(why)), Spent::default())
}

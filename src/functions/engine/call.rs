//! One call: from the event to what came back.

use std::time::Duration;

use rquickjs::{CatchResultExt, Ctx, Error, Function, Persistent, Value};

use super::natives::Ask;
use super::realm::{Compiled, Realm, failure};
use super::returned::{self, Given};
use super::told;
use crate::functions::event::{CallFailure, Event, Place, Returned, StoreView};

/// What a call is held to, and what it may ask.
pub struct Terms<'c> {
    pub stop: Duration,
    /// Octets.
    pub memory: usize,
    /// Milliseconds since the epoch: what `Date` says throughout the call.
    pub moment: u64,
    pub values: Option<&'c dyn StoreView>,
}

/// Calls compiled code. What it logged stays in the realm's state, as does how long it took.
pub fn call(
    realm: &Realm,
    compiled: &Compiled,
    event: &Event<'_>,
    terms: &Terms<'_>,
) -> Result<Returned, CallFailure> {
    let state = &realm.state;
    state.told.borrow_mut().fill(event);
    state.reads.begin();
    *state.store.borrow_mut() = terms.values.map(|values| values.id().to_string());
    state.asks.borrow_mut().clear();
    *state.origin.borrow_mut() = None;
    state.log.borrow_mut().clear();
    realm.allow(terms.memory);
    state.watch.begin(terms.stop);
    let outcome = realm.context.with(|ctx| run(&ctx, realm, compiled, event, terms));
    // Late is late, whatever the code made of being stopped.
    if state.watch.was_late() { Err(CallFailure::TooLong) } else { outcome }
}

fn run(
    ctx: &Ctx<'_>,
    realm: &Realm,
    compiled: &Compiled,
    event: &Event<'_>,
    terms: &Terms<'_>,
) -> Result<Returned, CallFailure> {
    let first = start(ctx, realm, compiled, event, terms.moment);
    let first = first.catch(ctx).map_err(|error| failure(ctx, &error));
    // Code may leave jobs behind that it does not wait for; they are part of the call.
    let is_done = !matches!(&first, Ok(value) if value.is_undefined());
    let value = if is_done {
        run_jobs(ctx, realm)?;
        first?
    } else {
        settle(ctx, realm, terms.values)?
    };
    let origin = realm.state.origin.borrow_mut().take();
    let told = realm.state.told.borrow();
    let given = Given { told: &told, reads: &realm.state.reads };
    let read = match returned::read(value.clone(), origin.clone(), given) {
        Err(Error::Utf8(_)) => function(ctx, &realm.api.mend)
            .and_then(|mend| mend.call::<_, Value<'_>>((value,)))
            .and_then(|value| returned::read(value, origin, given)),
        read => read,
    };
    read.catch(ctx).map_err(|error| failure(ctx, &error))?
}

fn function<'js>(
    ctx: &Ctx<'js>,
    of: &Persistent<Function<'static>>,
) -> rquickjs::Result<Function<'js>> {
    of.clone().restore(ctx)
}

fn start<'js>(
    ctx: &Ctx<'js>,
    realm: &Realm,
    compiled: &Compiled,
    event: &Event<'_>,
    moment: u64,
) -> rquickjs::Result<Value<'js>> {
    let make = function(ctx, &compiled.make)?;
    // Moments are far below what a double has no place for.
    let moment = moment as f64;
    let method = event.request.method;
    let uri = told::text(event.request.uri);
    let is_response = event.place == Place::ViewerResponse;
    let Some(response) = event.response.as_ref().filter(|_| is_response) else {
        return function(ctx, &realm.api.start_request)?.call((make, moment, method, &*uri));
    };
    let reason = http::StatusCode::from_u16(response.status).ok();
    let reason = reason.and_then(|status| status.canonical_reason()).unwrap_or("");
    let start = function(ctx, &realm.api.start_response)?;
    start.call((make, moment, method, &*uri, response.status, reason))
}

// Until no job is left or the time is over.
fn run_jobs(ctx: &Ctx<'_>, realm: &Realm) -> Result<(), CallFailure> {
    while ctx.execute_pending_job() {
        if realm.state.watch.is_late() {
            return Err(CallFailure::TooLong);
        }
    }
    Ok(())
}

// Waits for the promise that the handler gave: jobs, and answers to questions that only we can look
// up, until it is settled or nothing is left that could settle it.
fn settle<'js>(
    ctx: &Ctx<'js>,
    realm: &Realm,
    values: Option<&dyn StoreView>,
) -> Result<Value<'js>, CallFailure> {
    loop {
        run_jobs(ctx, realm)?;
        let taken = function(ctx, &realm.api.take).and_then(|take| take.call::<_, Value<'js>>(()));
        let taken = taken.catch(ctx).map_err(|error| failure(ctx, &error))?;
        if !taken.is_undefined() {
            return Ok(taken);
        }
        let Some(ask) = realm.state.asks.borrow_mut().pop_front() else {
            return Err(CallFailure::NeverSettles);
        };
        let (found, text) = answer(values, &ask);
        let reply =
            function(ctx, &realm.api.reply).and_then(|reply| reply.call::<_, ()>((found, text)));
        reply.catch(ctx).map_err(|error| failure(ctx, &error))?;
    }
}

// Whether it is there, and what it is.
fn answer(values: Option<&dyn StoreView>, ask: &Ask) -> (bool, String) {
    let Some(values) = values else { return (false, String::new()) };
    match ask {
        Ask::Get(key) => match values.get(key) {
            Some(value) => (true, value.to_string()),
            None => (false, String::new()),
        },
        Ask::Exists(key) => (values.exists(key), String::new()),
        Ask::Meta => {
            (true, format!("{} {} {}", values.created(), values.updated(), values.count()))
        }
    }
}

//! What looks after each certificate that is ordered: whether it is due, who orders, what becomes
//! of a failure, and that the edge serves what was issued.
//!
//! Nothing here is on a viewer's way. A certificate that could not be renewed goes on serving, and
//! one that was never issued has a self-made one in its place (`config`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rcgen::KeyPair;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::Issuing;
use super::board::{Board, State};
use super::client::renewal_window;
use super::heard::{Tell, Told, tell, told_of};
use super::leaf::Leaf;
use super::order::{self, Context};
use super::proofs;
use super::renewal::{chance, left_alone, pause, renew_at, waits_until, wanted_from};
use super::shelf::{Saved, SavedWindow, Shelf};
use super::trouble::{Kind, Trouble};
use crate::clock::Clock;
use crate::distribution::acme::{Acme, Folder, Orders};
use crate::distribution::site::Site;
use crate::semantics::time::{Timestamp, format_rfc3339};

/// So many orders are under way at once.
const AT_ONCE: usize = 4;
/// How long one attempt may take; what it has reached is gone on with in the next.
const ATTEMPT: Duration = Duration::from_secs(15 * 60);
/// How often each certificate is looked at in any case.
const LOOK: Duration = Duration::from_secs(3600);
/// When it is looked at again after something on this side failed.
const SOON: Duration = Duration::from_secs(60);
/// When the orderer is asked again, if it has told nothing meanwhile.
const ASKED: Duration = Duration::from_secs(300);
/// When it is tried again to tell the fleet.
const UNHEARD: Duration = Duration::from_secs(2);
/// How long a CA is left alone that says nothing of windows, or could not be asked.
const ASK_AGAIN: Duration = Duration::from_secs(6 * 3600);

/// What the keeper works with.
pub struct KeeperContext {
    pub clock: Clock,
    pub issuing: Arc<Issuing>,
    /// The site in force.
    pub site: Box<dyn Fn() -> Arc<Site> + Send + Sync>,
    /// Has the edge load its certificates again; reads files.
    pub reload: Box<dyn Fn() + Send + Sync>,
    /// Tells the members of the fleet, where there is one.
    pub tell: Tell,
}

/// Looks after all certificates of the site in force, until the process ends.
pub async fn keep(context: KeeperContext) {
    let context = Arc::new(context);
    let mut next: HashMap<String, Timestamp> = HashMap::new();
    let mut busy: HashSet<String> = HashSet::new();
    let mut work: JoinSet<(String, Timestamp)> = JoinSet::new();
    let (mut reloads, mut again) = (context.issuing.reloads(), HashSet::new());
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        while let Some(done) = work.try_join_next() {
            match done {
                Ok((entry, at)) => {
                    busy.remove(&entry);
                    next.insert(entry, at);
                }
                Err(error) => {
                    tracing::error!(%error, "looking after a certificate broke off");
                    let at = context.clock.now().plus(SOON);
                    next.extend(busy.drain().map(|entry| (entry, at)));
                }
            }
        }
        let site = (context.site)();
        forget(&context, &site, &mut next);
        if context.issuing.reloads() != reloads {
            reloads = context.issuing.reloads();
            again = failing(&context);
        }
        let now = context.clock.now();
        for acme in &site.acme {
            let entry = acme.entry();
            if busy.contains(&entry) {
                continue;
            }
            if matches!(acme.folder, Folder::Shared(_)) {
                follow(&context, acme);
            }
            let is_said = again.contains(&entry);
            let is_due = is_said
                || next.get(&entry).is_none_or(|at| *at <= now)
                || is_called(&context, acme);
            if is_due && work.len() < AT_ONCE {
                again.remove(&entry);
                busy.insert(entry.clone());
                let (context, acme) = (Arc::clone(&context), Arc::clone(acme));
                work.spawn(async move {
                    let at = look(&context, &acme, &entry, is_said).await;
                    (entry, at)
                });
            }
        }
    }
}

// What somebody who reloads may have mended.
fn failing(context: &KeeperContext) -> HashSet<String> {
    let failing = context.issuing.board.failing();
    if !failing.is_empty() {
        tracing::info!(
            certificates = ?failing,
            "reloaded: certificates that failed are tried again, each a minute after it was tried, and not before its CA said"
        );
    }
    failing.into_iter().collect()
}

// The fleet has told something that this edge is to act on.
fn is_called(context: &KeeperContext, acme: &Acme) -> bool {
    let heard = &context.issuing.heard;
    match acme.orders {
        Orders::Here => false,
        Orders::ForFleet => heard.is_wanted(&acme.entry()),
        Orders::Member(_) => heard.has_issued(&acme.entry()),
    }
}

// What is no longer configured is neither shown nor answered for.
fn forget(context: &KeeperContext, site: &Site, next: &mut HashMap<String, Timestamp>) {
    let known: HashSet<String> = site.acme.iter().map(|acme| acme.entry()).collect();
    next.retain(|entry, _| {
        let is_known = known.contains(entry);
        if !is_known {
            context.issuing.challenges.put(entry, Vec::new());
            context.issuing.challenges.put(&told_of(entry), Vec::new());
        }
        is_known
    });
    context.issuing.board.keep(|entry| known.contains(entry));
}

// Answers the CA for the edge that orders, whichever that is.
fn follow(context: &KeeperContext, acme: &Acme) {
    let followed =
        Shelf::open(acme).and_then(|shelf| proofs::answer(&context.issuing, acme, &shelf));
    if let Err(trouble) = followed {
        tracing::warn!(certificate = acme.entry(), %trouble, "the shared folder cannot be read");
    }
}

// Looks at one certificate, does what is due, and says when to look again. Where somebody reloaded,
// a pause after a failure is cut short.
async fn look(
    context: &Arc<KeeperContext>,
    acme: &Acme,
    entry: &str,
    is_reloaded: bool,
) -> Timestamp {
    context.issuing.board.note(entry, |row| {
        row.names.clone_from(&acme.names);
        row.directory.clone_from(&acme.directory);
        row.challenge = acme.challenge.word();
        row.orderer = match &acme.orders {
            Orders::Here | Orders::ForFleet => None,
            Orders::Member(orderer) => Some(orderer.clone()),
        };
    });
    match look_closely(context, acme, entry, is_reloaded).await {
        Ok(at) => at,
        Err(trouble) => {
            let at = context.clock.now().plus(SOON);
            tracing::error!(certificate = entry, %trouble, "a certificate cannot be looked after");
            Board::count(&context.issuing.board.failed);
            context.issuing.board.note(entry, |row| {
                row.state = State::Failed;
                row.next = Some(at);
                row.last_error = Some(trouble.to_string());
            });
            at
        }
    }
}

async fn look_closely(
    context: &Arc<KeeperContext>,
    acme: &Acme,
    entry: &str,
    is_reloaded: bool,
) -> Result<Timestamp, Trouble> {
    let board = &context.issuing.board;
    let shelf = Shelf::open(acme)?;
    let now = context.clock.now();
    if let Orders::Member(_) = acme.orders {
        return follow_orderer(context, acme, entry, &shelf).await;
    }
    let Some(_lock) = shelf.lock()? else {
        board.note(entry, |row| row.state = State::OrderedElsewhere);
        return Ok(now.plus(Duration::from_secs(1)));
    };
    // What a process before this one showed is of no use any more.
    take_back(context, acme, &shelf).await?;
    let mut saved = shelf.saved()?;
    let sooner = saved.after_reload().secs();
    if is_reloaded && saved.failures > 0 && sooner < saved.retry_at {
        saved.retry_at = sooner;
        shelf.save(&saved)?;
    }
    let leaf = in_use(acme, &shelf, now)?;
    drop(context.issuing.heard.take_issued(entry));
    if context.issuing.heard.take_wanted(entry) && leaf.is_some() {
        tell_issued(context, acme, &shelf).await?;
    }
    let until = leaf.as_ref().map(|leaf| leaf.life.until);
    board.note(entry, |row| {
        row.until = until;
        row.failures = saved.failures;
        row.after_reload = (saved.failures > 0).then(|| saved.after_reload());
        row.last_error.clone_from(&saved.last_error);
    });
    if let Some(leaf) = &leaf {
        let is_loaded = load(context, leaf).await;
        board.note(entry, |row| row.is_served = is_loaded);
        ask_for_window(context, acme, &shelf, &mut saved, leaf).await?;
        let window = saved.window.as_ref().map(SavedWindow::window);
        let due = renew_at(leaf.life, window, chance(&leaf.der));
        if now < due {
            board.note(entry, |row| {
                row.state = State::Issued;
                row.next = Some(due);
            });
            let ask_at = saved.window.as_ref().map(|window| Timestamp::from_secs(window.ask_at));
            let again = now.plus(if is_loaded { LOOK } else { SOON });
            return Ok(ask_at.into_iter().fold(due.min(again), Timestamp::min));
        }
    }
    if let Some(retry_at) = waits_until(Timestamp::from_secs(saved.retry_at), now) {
        board.note(entry, |row| {
            row.state = if saved.failures > 0 { State::Failed } else { State::Issued };
            row.next = Some(retry_at);
        });
        return Ok(retry_at.min(now.plus(LOOK)));
    }
    attempt(context, (acme, entry), &shelf, saved, leaf).await
}

// The issued certificate, if there is one that can be used.
fn in_use(acme: &Acme, shelf: &Shelf, now: Timestamp) -> Result<Option<Leaf>, Trouble> {
    let Some(pem) = shelf.issued()? else { return Ok(None) };
    let leaf = Leaf::of_pem(&pem).ok();
    Ok(leaf.filter(|leaf| leaf.is_for(&acme.names) && leaf.life.until > now))
}

// Has the edge serve a certificate if it does not yet. The same way as for any changed certificate:
// the configuration is loaded again, and what is wrong with it keeps the one before in force.
async fn load(context: &Arc<KeeperContext>, leaf: &Leaf) -> bool {
    if is_served(context, leaf) {
        return true;
    }
    let loading = Arc::clone(context);
    let _ = tokio::task::spawn_blocking(move || (loading.reload)()).await;
    is_served(context, leaf)
}

fn is_served(context: &KeeperContext, leaf: &Leaf) -> bool {
    let site = (context.site)();
    site.certificates.iter().any(|served| served.chain.first() == Some(&leaf.der))
}

async fn take_back(context: &KeeperContext, acme: &Acme, shelf: &Shelf) -> Result<(), Trouble> {
    let was_shown = proofs::take_back(&context.issuing, acme, shelf).await?;
    if was_shown && acme.orders == Orders::ForFleet {
        let told = Told::Proofs { certificate: acme.entry(), proofs: Vec::new() };
        tell(&context.tell, &told).await;
    }
    Ok(())
}

// Tells the fleet what was issued. A member that does not hear of it asks for it later.
async fn tell_issued(context: &KeeperContext, acme: &Acme, shelf: &Shelf) -> Result<(), Trouble> {
    let pem = shelf.issued()?.and_then(|pem| String::from_utf8(pem).ok()).unwrap_or_default();
    let certificate = acme.entry();
    if !tell(&context.tell, &Told::Issued { certificate, pem }).await {
        tracing::warn!(certificate = acme.entry(), "the fleet was not told of a certificate");
    }
    Ok(())
}

// Of an edge that another member orders for: keeps what that tells, and asks for it where there is
// none, or one that should have been renewed long since.
async fn follow_orderer(
    context: &Arc<KeeperContext>,
    acme: &Acme,
    entry: &str,
    shelf: &Shelf,
) -> Result<Timestamp, Trouble> {
    let now = context.clock.now();
    if let Some(pem) = context.issuing.heard.take_issued(entry)
        && let Err(why) = keep_told(acme, shelf, pem.expose(), now)
    {
        tracing::warn!(
            certificate = entry,
            why,
            "what the orderer tells is no certificate of ours"
        );
    }
    let leaf = in_use(acme, shelf, now)?;
    let is_loaded = match &leaf {
        Some(leaf) => load(context, leaf).await,
        None => false,
    };
    context.issuing.board.note(entry, |row| {
        row.state = if leaf.is_some() { State::Issued } else { State::OrderedElsewhere };
        row.until = leaf.as_ref().map(|leaf| leaf.life.until);
        row.is_served = is_loaded;
    });
    if leaf.as_ref().is_some_and(|leaf| now < wanted_from(leaf.life)) {
        return Ok(now.plus(if is_loaded { LOOK } else { SOON }));
    }
    let is_told = tell(&context.tell, &Told::Wanted { certificate: entry.to_string() }).await;
    Ok(now.plus(if is_told { ASKED } else { UNHEARD }))
}

// A member's certificate, if it can be used here and holds for longer than the one that is there.
fn keep_told(acme: &Acme, shelf: &Shelf, pem: &str, now: Timestamp) -> Result<(), String> {
    let leaf = Leaf::of_pem(pem.as_bytes())?;
    let key = KeyPair::from_pem(pem).map_err(|error| error.to_string())?;
    if !leaf.is_for(&acme.names) || !leaf.is_of_key(key.public_key_raw()) {
        return Err("other names, or another key".into());
    }
    if leaf.life.from > now || leaf.life.until <= now {
        return Err("it does not hold now; is a clock wrong?".into());
    }
    let known = in_use(acme, shelf, now).map_err(|trouble| trouble.to_string())?;
    if known.is_some_and(|known| known.life.until >= leaf.life.until) {
        return Ok(());
    }
    shelf.issue(pem.as_bytes()).map_err(|trouble| trouble.to_string())
}

// Asks the CA when it wants the certificate renewed, as often as it says. A CA that cannot be asked
// changes nothing.
async fn ask_for_window(
    context: &KeeperContext,
    acme: &Acme,
    shelf: &Shelf,
    saved: &mut Saved,
    leaf: &Leaf,
) -> Result<(), Trouble> {
    let Some(id) = &leaf.id else { return Ok(()) };
    let now = context.clock.now();
    let known = saved.window.take().filter(|window| window.of == *id);
    let waits =
        |known: &SavedWindow| waits_until(Timestamp::from_secs(known.ask_at), now).is_some();
    if known.as_ref().is_some_and(waits) {
        saved.window = known;
        return Ok(());
    }
    let asked = renewal_window(acme, &context.clock, id).await;
    let (start, end, again) = match asked {
        Ok(Some((window, again))) => (window.start.secs(), window.end.secs(), again),
        Ok(None) => (0, 0, ASK_AGAIN),
        Err(trouble) => {
            tracing::debug!(certificate = acme.entry(), %trouble, "the CA's window was not learnt");
            let (start, end) = known.map_or((0, 0), |known| (known.start, known.end));
            (start, end, trouble.asked.unwrap_or(ASK_AGAIN))
        }
    };
    let ask_at = now.plus(again).secs();
    saved.window = Some(SavedWindow { of: id.clone(), start, end, ask_at });
    shelf.save(saved)
}

// One attempt to get a certificate, and what becomes of it.
async fn attempt(
    context: &Arc<KeeperContext>,
    (acme, entry): (&Acme, &str),
    shelf: &Shelf,
    mut saved: Saved,
    leaf: Option<Leaf>,
) -> Result<Timestamp, Trouble> {
    let board = &context.issuing.board;
    board.note(entry, |row| row.state = State::Ordering);
    tracing::info!(certificate = entry, names = ?acme.names, directory = acme.directory, "ordering a certificate");
    let (issuing, clock, tell) = (&*context.issuing, &context.clock, &context.tell);
    let with = Context { acme, issuing, clock, shelf, tell };
    let replaces = leaf.as_ref().and_then(|leaf| leaf.id.as_deref());
    let obtained = tokio::time::timeout(ATTEMPT, order::obtain(with, &mut saved, replaces)).await;
    let obtained = obtained.unwrap_or_else(|_| {
        Err(Trouble::new(Kind::TookTooLong, format!("the order took longer than {ATTEMPT:?}")))
    });
    take_back(context, acme, shelf).await?;
    let now = context.clock.now();
    match obtained {
        Ok(pem) => {
            shelf.issue(&pem)?;
            Board::count(&board.issued);
            let leaf = in_use(acme, shelf, now)?;
            let until = leaf.as_ref().map(|leaf| leaf.life.until);
            board.note(entry, |row| {
                (row.state, row.until, row.next) = (State::Issued, until, None);
                (row.failures, row.after_reload, row.last_error) = (0, None, None);
            });
            let rest = rest(leaf.as_ref());
            shelf.save(&Saved { retry_at: now.plus(rest).secs(), ..Saved::default() })?;
            if acme.orders == Orders::ForFleet {
                tell_issued(context, acme, shelf).await?;
            }
            if let Some(leaf) = &leaf {
                let is_loaded = load(context, leaf).await;
                tracing::info!(certificate = entry, is_loaded, "a certificate was issued");
            }
            // Looked at once more at once: for its window, and to be told.
            Ok(now)
        }
        Err(trouble) => {
            let left = leaf.map(|leaf| Duration::from_millis(leaf.life.until.millis_since(now)));
            failed(context, (entry, shelf), saved, &trouble, left)
        }
    }
}

// What is remembered and said of a failure, and when it is tried again.
fn failed(
    context: &KeeperContext,
    (entry, shelf): (&str, &Shelf),
    mut saved: Saved,
    trouble: &Trouble,
    left: Option<Duration>,
) -> Result<Timestamp, Trouble> {
    let (board, now) = (&context.issuing.board, context.clock.now());
    saved.failures = saved.failures.saturating_add(1);
    let pause = pause(saved.failures, trouble.kind, trouble.asked, left, by_chance());
    // What the CA asked for is not cut short by a part of a second.
    let whole = now.plus(pause).secs() + u64::from(trouble.asked.is_some());
    let retry_at = Timestamp::from_secs(whole);
    (saved.retry_at, saved.last_error) = (retry_at.secs(), Some(trouble.to_string()));
    saved.tried_at = now.secs();
    saved.left_alone = left_alone(trouble, now, retry_at).secs();
    let after_reload = saved.after_reload();
    Board::count(&board.failed);
    tracing::warn!(
        certificate = entry,
        %trouble,
        failures = saved.failures,
        retry_in = ?pause,
        after_reload = %format_rfc3339(after_reload),
        "no certificate was issued; what serves goes on serving, and a reload has it tried again from `after_reload` on"
    );
    board.note(entry, |row| {
        row.state = State::Failed;
        row.failures = saved.failures;
        row.after_reload = Some(after_reload);
        row.last_error.clone_from(&saved.last_error);
        row.next = Some(retry_at);
    });
    shelf.save(&saved)?;
    Ok(retry_at)
}

// How long after a success nothing is ordered, whatever the CA says of its window: a window that is
// always over would have one certificate ordered after the other.
fn rest(leaf: Option<&Leaf>) -> Duration {
    let life = leaf.map_or(0, |leaf| leaf.life.until.millis_since(leaf.life.from));
    Duration::from_millis(life / 20).clamp(Duration::from_secs(2), Duration::from_secs(12 * 3600))
}

fn by_chance() -> u32 {
    let mut octets = [0; 4];
    // Without randomness all wait for the shortest time, which is long enough.
    let _ = aws_lc_rs::rand::fill(&mut octets);
    u32::from_be_bytes(octets)
}

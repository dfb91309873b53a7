//! Asks every parent, now and then, whether it is ready: on its admin listener, behind all viewers'
//! backs. What is made of the answers is decided in `checked`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::task::JoinHandle;

use super::Region;
use super::checked::Found;
use crate::origin::admin_line::{Callee, Get, Line, get};
use crate::origin::connect::Resolver;

/// What every parent says about itself on its admin listener: 503 while it drains.
const READY: Get = Get { path: "/readyz", limit: 4 << 10 };

/// How soon a parent that came with a reload is checked for the first time.
const LOOKING: Duration = Duration::from_secs(1);

/// The edge whose parents are checked.
pub struct CheckContext {
    /// Gives the tier in force.
    pub region: Box<dyn Fn() -> Option<Arc<Region>> + Send + Sync>,
    pub resolver: Resolver,
}

/// Checks the parents of the tier in force, each in a task of its own, for as long as the process
/// lives.
pub async fn keep_checking(context: CheckContext) {
    let context = Arc::new(context);
    let mut tasks: HashMap<String, JoinHandle<()>> = HashMap::new();
    let mut tick = tokio::time::interval(LOOKING);
    loop {
        tick.tick().await;
        tasks.retain(|_, task| !task.is_finished());
        let Some(region) = (context.region)() else { continue };
        for name in region.names_to_check() {
            let one = || keep_checking_one(Arc::clone(&context), name.to_string());
            tasks.entry(name.to_string()).or_insert_with(|| tokio::spawn(one()));
        }
    }
}

// Until it is no parent any more, or none is checked.
async fn keep_checking_one(context: Arc<CheckContext>, name: String) {
    let (mut kept, mut turn) = (None, 0);
    while let Some(rest) = check(&context, &name, &mut kept, turn).await {
        tokio::time::sleep(rest).await;
        turn += 1;
    }
}

// One check; how long until the next.
async fn check(
    context: &CheckContext,
    name: &str,
    kept: &mut Option<Line>,
    turn: u64,
) -> Option<Duration> {
    let region = (context.region)()?;
    let configured = region.configured();
    let callee = Callee {
        admin: region.admin_of(name)?,
        edge_id: &configured.edge_id,
        token: &configured.token,
        tls: &configured.tls,
    };
    let terms = configured.checks;
    if terms.interval.is_zero() {
        return None;
    }
    let patience = terms.timeout;
    let asked = look(kept, callee, &context.resolver, patience);
    let asked = tokio::time::timeout(patience, asked).await;
    let found = match asked {
        Ok(Ok(found)) => found,
        Ok(Err(why)) => {
            tracing::debug!(parent = name, why, "a check of a parent failed");
            Found::Failed
        }
        Err(_) => {
            tracing::debug!(parent = name, ?patience, "a check of a parent was not answered");
            Found::Failed
        }
    };
    // What a site that was replaced meanwhile made of it is kept: both share it.
    region.checked(name, found);
    Some(region.rest_of(name, turn))
}

async fn look(
    kept: &mut Option<Line>,
    callee: Callee<'_>,
    resolver: &Resolver,
    patience: Duration,
) -> Result<Found, String> {
    // Taken out: a check that is dropped in the middle leaves no connection with half an answer.
    let (used, answer) = get(kept.take(), callee, resolver, patience, READY).await?;
    *kept = Some(used);
    match answer.status {
        StatusCode::OK => Ok(Found::Ready),
        StatusCode::SERVICE_UNAVAILABLE => Ok(Found::Draining),
        other => Err(format!("it answered {other}")),
    }
}

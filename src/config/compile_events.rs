//! What is told of changed objects from outside: who may, and what is done about it.

use std::path::Path;
use std::time::Duration;

use super::compile_origin;
use super::credentials;
use super::reader::Table;
use super::scope::Scope;
use crate::distribution::behavior::{Methods, WriteThrough};
use crate::distribution::events::{Refill, S3Events, Sns, SnsHost, Subscriptions};
use crate::distribution::origin::{OriginTls, Roots, TlsVersion};

/// The most that the answer to a write may wait for others.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// `[events.s3]`: changed objects of buckets.
pub fn s3(main: &mut Table<'_>, scope: &mut Scope<'_>) -> S3Events {
    let Some(mut events) = main.table("events") else { return S3Events::default() };
    let found = events.table("s3");
    events.finish();
    let Some(mut table) = found else { return S3Events::default() };
    let folder = scope.folder(table.source());
    let token = table
        .table("token")
        .and_then(|secret| credentials::secret(secret, &folder, &mut scope.files));
    let refill = refill(&mut table);
    let sns = table.table("sns").and_then(|sns| self::sns(sns, &folder, scope));
    table.finish();
    S3Events { token, refill, sns }
}

// `refill`, of events and of writes alike.
fn refill(table: &mut Table<'_>) -> Refill {
    match table.flag("refill") {
        Some(found) if found.value => Refill::AtOnce,
        _ => Refill::Off,
    }
}

fn sns(mut table: Table<'_>, folder: &Path, scope: &mut Scope<'_>) -> Option<Sns> {
    let mut topics = Vec::new();
    for item in table.strings("topics").map_or_else(Vec::new, |list| list.value) {
        if item.value.starts_with("arn:") && item.value.contains(":sns:") {
            topics.push(item.value);
        } else {
            table.problem(
                &item.span,
                format!("{:?} is no topic", item.value),
                Some("its ARN: \"arn:aws:sns:eu-central-1:123456789012:uploads\"".into()),
            );
        }
    }
    if topics.is_empty() && !table.has("topics") {
        // Whoever has an account could else have their messages signed.
        table.missing("topics", "topics = [\"arn:aws:sns:eu-central-1:123456789012:uploads\"]");
    }
    let mut hosts = Vec::new();
    for item in table.strings("hosts").map_or_else(Vec::new, |list| list.value) {
        match SnsHost::parse(&item.value) {
            Ok(host) => hosts.push(host),
            Err(why) => table.problem(
                &item.span,
                format!("{:?}: {why}", item.value),
                Some(format!("such as {:?}", SnsHost::USUAL)),
            ),
        }
    }
    if hosts.is_empty() {
        hosts.extend(SnsHost::parse(SnsHost::USUAL));
    }
    let kinds = [("ignore", Subscriptions::Ignore), ("confirm", Subscriptions::Confirm)];
    let subscriptions =
        table.word("subscriptions", &kinds).map_or(Subscriptions::Ignore, |found| found.value);
    let roots =
        compile_origin::roots(&mut table, folder, &mut scope.files).unwrap_or(Roots::System);
    table.finish();
    let tls = OriginTls { roots, server_name: None, identity: None, min: TlsVersion::V1_2 };
    (!topics.is_empty()).then_some(Sns { topics, hosts, subscriptions, tls })
}

/// `write_through` of a behavior: what a successful write does beyond this node.
pub fn write_through(behavior: &mut Table<'_>, methods: Methods) -> Option<WriteThrough> {
    let mut table = behavior.table("write_through")?;
    if !methods.allows(&http::Method::PUT) {
        table.problem(
            &table.span(),
            "this behavior allows no writes",
            Some("methods = \"all\"".to_string()),
        );
    }
    let refill = refill(&mut table);
    let wait = table.duration("wait");
    if let Some(found) = &wait
        && found.value > WAIT_MAX
    {
        table.problem(
            &found.span,
            format!("a viewer waits for at most {}s", WAIT_MAX.as_secs()),
            Some("wait = \"5s\"; beyond it the answer says that it is not proven".into()),
        );
    }
    table.finish();
    Some(WriteThrough { wait: wait.map(|found| found.value), refill })
}

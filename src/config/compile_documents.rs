//! Distributions of all sources in their order: those of files, then those of documents, of which
//! some were compiled before.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::compile_distribution::{self, Made};
use super::reader::Table;
use super::scope::Scope;
use super::units::{Draft, Own, Part, Unit, Written};
use super::{compile_keys, compile_policy};
use crate::distribution::functions::Attached;
use crate::distribution::site::Distribution;

/// A distribution that the next compilation may use again: its place among all.
pub struct Record {
    at: usize,
    written: Arc<Written>,
}

/// Reads the policies and keys of all sources; what each of the parts brought along.
pub fn policies(roots: &mut [Table<'_>], parts: &[Part], scope: &mut Scope<'_>) -> Vec<Own> {
    let shared = shared(roots, parts);
    for root in roots.iter_mut().take(shared) {
        compile_policy::read(root, scope);
        compile_keys::read_keys(root, scope);
    }
    let mut all = Vec::new();
    for part in parts {
        all.push(match part {
            Part::New(draft) => own_policies(&mut roots[draft.source], scope),
            Part::Known(unit) => {
                let own = &unit.written.own;
                scope.policies.include(&own.policies);
                scope.warnings.extend_from_slice(&own.warnings);
                Own::default()
            }
        });
    }
    all
}

// Sources that are no part: files, and what documents share.
fn shared(roots: &[Table<'_>], parts: &[Part]) -> usize {
    roots.len() - parts.iter().filter(|part| matches!(part, Part::New(_))).count()
}

fn own_policies(root: &mut Table<'_>, scope: &mut Scope<'_>) -> Own {
    let (others, before) = (std::mem::take(&mut scope.policies), scope.warnings.len());
    compile_policy::read(root, scope);
    compile_keys::read_keys(root, scope);
    let policies = std::mem::replace(&mut scope.policies, others);
    scope.policies.include(&policies);
    Own { policies, warnings: scope.warnings[before..].to_vec() }
}

/// Reads all distributions; the second are those of documents that may be used again.
pub fn distributions(
    roots: &mut [Table<'_>],
    parts: Vec<Part>,
    own: Vec<Own>,
    scope: &mut Scope<'_>,
) -> (Vec<Made>, Vec<Record>) {
    let (mut all, mut records) = (Vec::new(), Vec::new());
    let shared = shared(roots, &parts);
    for root in roots.iter_mut().take(shared) {
        for table in root.tables("distribution") {
            all.extend(compile_distribution::read(table, scope));
        }
    }
    let functions = scope.code.functions.len();
    // Those that were compiled before come behind all texts.
    let mut known = roots.len();
    for (part, own) in parts.into_iter().zip(own) {
        match part {
            Part::New(draft) => {
                let at = all.len();
                let root = &mut roots[draft.source];
                if let Some(written) = read_part(root, draft, own, &mut all, scope)
                    && all.len() == at + 1
                    && stands_alone(&all[at], functions)
                {
                    records.push(Record { at, written: Arc::new(written) });
                }
            }
            Part::Known(Unit { written, distribution }) => {
                scope.remarks.extend_from_slice(&written.remarks);
                scope.warnings.extend_from_slice(&written.warnings);
                scope.files.extend_from_slice(&written.files);
                all.push(Made {
                    distribution,
                    hosts: Arc::clone(&written.hosts),
                    id_span: written.id_span.clone(),
                    source: known,
                    staging: None,
                    findings: Arc::clone(&written.findings),
                });
                records.push(Record { at: all.len() - 1, written });
                known += 1;
            }
        }
    }
    (all, records)
}

// Reads the distribution of a document; what it said beside it, unless it is compiled each time.
fn read_part(
    root: &mut Table<'_>,
    draft: Draft,
    own: Own,
    all: &mut Vec<Made>,
    scope: &mut Scope<'_>,
) -> Option<Written> {
    let before = (scope.remarks.len(), scope.warnings.len(), scope.files.len());
    for table in root.tables("distribution") {
        all.extend(compile_distribution::read(table, scope));
    }
    let made = all.last()?;
    Some(Written {
        id: draft.id.into(),
        source: scope.texts.get(draft.source)?.clone(),
        needs: draft.needs?,
        remark: draft.remark,
        own,
        hosts: Arc::clone(&made.hosts),
        id_span: made.id_span.clone(),
        findings: Arc::clone(&made.findings),
        remarks: scope.remarks[before.0..].to_vec(),
        warnings: scope.warnings[before.1..].to_vec(),
        files: scope.files[before.2..].to_vec(),
    })
}

// It is no other's staging distribution, and none of its functions was made up for it.
fn stands_alone(made: &Made, functions: usize) -> bool {
    let hooks = made.distribution.behaviors.iter().filter_map(|one| one.hooks.as_ref());
    let mut attached = hooks.flat_map(|hooks| hooks.attached());
    made.staging.is_none()
        && attached.all(|one| !matches!(one, Attached::Function(at) if at >= functions))
}

/// Gives all behaviors their ordinals, in order.
pub fn number(all: &mut [Made]) {
    let mut next = 0;
    for made in all {
        let count = made.distribution.behaviors.len();
        let mut places = made.distribution.behaviors.iter().zip(next..);
        if !places.all(|(behavior, ordinal)| behavior.ordinal == ordinal) {
            let own: &mut Distribution = Arc::make_mut(&mut made.distribution);
            for (behavior, ordinal) in own.behaviors.iter_mut().zip(next..) {
                behavior.ordinal = ordinal;
            }
        }
        next += count;
    }
}

/// What the next compilation may use again, before distributions learn of each other.
pub fn units(records: Vec<Record>, all: &[Made]) -> BTreeMap<Arc<str>, Unit> {
    let unit = |Record { at, written }: Record| {
        let distribution = Arc::clone(&all.get(at)?.distribution);
        Some((Arc::clone(&written.id), Unit { written, distribution }))
    };
    records.into_iter().filter_map(unit).collect()
}

//! What is stored, in memory and on the disk, and the key value stores.

use super::{counters, gauges};
use crate::functions::values::stores::Stores;
use crate::record::metrics::single;
use crate::store::{Disk, Memory};

pub(super) fn memory_metrics(store: &Memory, out: &mut String) {
    let stats = store.stats();
    let rows = [
        (
            "foreshore_store_bytes",
            "Octets in the store's account, bookkeeping included.",
            stats.bytes,
        ),
        ("foreshore_store_limit_bytes", "The most it may take.", stats.limit),
        ("foreshore_store_objects", "Stored responses.", stats.objects),
    ];
    gauges(out, &rows);
    let help = "Responses evicted to make room.";
    single(out, "foreshore_store_evictions_total", "counter", help, stats.evictions);
}

/// All key value stores together.
pub(super) fn values_metrics(stores: &Stores, out: &mut String) {
    let all = stores.all();
    let values: Vec<_> = all.iter().map(|store| store.values()).collect();
    let keys: usize = values.iter().map(|values| values.count()).sum();
    let octets: usize = values.iter().map(|values| values.octets()).sum();
    let failed = all.iter().filter(|store| store.problem().is_some()).count();
    let rows = [
        ("foreshore_key_value_stores", "Key value stores.", all.len() as u64),
        ("foreshore_key_value_keys", "Keys in them.", keys as u64),
        ("foreshore_key_value_bytes", "Octets of their keys and values.", octets as u64),
        (
            "foreshore_key_value_files_failed",
            "Stores whose file cannot be used as it is now; what it said before is in force.",
            failed as u64,
        ),
    ];
    gauges(out, &rows);
}

/// The disk store, where one is configured; `None` while it cannot be opened.
pub(super) fn disk_metrics(disk: Option<&Disk>, out: &mut String) {
    let help = "0 while the disk store cannot be opened.";
    single(out, "foreshore_disk_open", "gauge", help, u64::from(disk.is_some()));
    let Some(disk) = disk else { return };
    let (stats, tally) = (disk.stats(), &disk.tally);
    let rows = [
        ("foreshore_disk_bytes", "Octets of the disk store's files.", stats.bytes),
        ("foreshore_disk_limit_bytes", "The most they may take.", stats.limit),
        ("foreshore_disk_objects", "Responses on the disk.", stats.objects),
        ("foreshore_disk_segments", "Files they lie in.", stats.segments),
        (
            "foreshore_disk_index_bytes",
            "Octets of memory that the index of the disk store takes.",
            stats.index_bytes,
        ),
        ("foreshore_disk_waiting_bytes", "Octets that wait to be written.", stats.waiting),
        (
            "foreshore_disk_loaded",
            "1 once everything on the disk was found after a start.",
            u64::from(stats.is_loaded),
        ),
        (
            "foreshore_disk_writing",
            "0 while the disk is left alone because it failed.",
            u64::from(stats.is_writing),
        ),
    ];
    gauges(out, &rows);
    let rows = [
        ("foreshore_disk_hits_total", "Responses brought back from the disk.", &tally.hits),
        ("foreshore_disk_writes_total", "Responses written.", &tally.writes),
        ("foreshore_disk_written_bytes_total", "Octets of them.", &tally.written_bytes),
        (
            "foreshore_disk_moved_bytes_total",
            "Octets written again to keep what is used and to close gaps.",
            &tally.moved_bytes,
        ),
        ("foreshore_disk_evictions_total", "Responses that left to make room.", &tally.evictions),
        (
            "foreshore_disk_refused_total",
            "Responses not admitted: the queue was full, or the disk failed.",
            &tally.refused,
        ),
        (
            "foreshore_disk_corrupt_total",
            "Responses dropped because they were not what was written.",
            &tally.corrupt,
        ),
        ("foreshore_disk_read_errors_total", "Reads that failed.", &tally.read_errors),
        ("foreshore_disk_write_errors_total", "Writes that failed.", &tally.write_errors),
        ("foreshore_disk_slow_total", "Reads given up because they took too long.", &tally.slow),
        (
            "foreshore_disk_scrubbed_bytes_total",
            "Octets read in the background to check them.",
            &tally.scrubbed_bytes,
        ),
    ];
    counters(out, &rows);
}

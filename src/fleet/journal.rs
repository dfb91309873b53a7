//! The durable log of a sequencer, `fleet.log` in the data folder: a file of the form that
//! `invalidation/frames.rs` has. What is appended is synced before a member or a caller is told.
//!
//! An orderly end is an entry of its own, which counts only as the very last one. A log without it
//! may be an older copy of itself, or have lost its end: it keeps its records and goes on in a new
//! epoch.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::protocol::{Epoch, FleetNumber, Name, Record};
use super::sequencer::{Past, Sequencer};
use crate::invalidation::chain::RecordId;
use crate::invalidation::frames::{self, LogFile};

const MAGIC: &[u8] = b"foreshore fleet 1\n";
/// A file longer than this is rewritten once most of its records were trimmed.
const REWRITE_AT: u64 = 4 << 20;
/// Octets of a file from which on no record is taken.
pub const OCTETS_MAX: u64 = 512 << 20;

/// What the file has, one after the other. `R` is a record, or a reference to one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Entry<R> {
    /// The first: whose log it is, and what is known of records that it no longer has.
    Begin {
        fleet: Name,
        epoch: Epoch,
        past: Past,
    },
    /// A process opened the log, or a member asked for it: this epoch counts from here.
    Epoch(Epoch),
    Record(R),
    /// The records up to this number are let go of.
    Trimmed(FleetNumber),
    /// The process ended in order.
    Closed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Open,
    /// A failed write could not be taken back.
    Broken,
    Closed,
}

/// The file of a sequencer's log, open for appending.
pub struct Journal {
    file: Box<dyn LogFile>,
    /// Where it lies, if it is a file that can be rewritten.
    path: Option<PathBuf>,
    fleet: Name,
    len: u64,
    /// Records in the file, those that were trimmed since too.
    records: usize,
    condition: Condition,
}

impl Journal {
    /// Opens or creates the log of a fleet in `folder`, with what it says. The log of another fleet
    /// and what is no such log are errors; what follows a damaged entry is put aside and lost.
    pub fn open(folder: &Path, fleet: &Name) -> io::Result<(Self, Sequencer)> {
        let path = folder.join("fleet.log");
        frames::keep_damaged(&path, MAGIC.len(), |bytes| Ok(read(bytes, fleet)?.good))?;
        let (journal, sequencer) = Self::over(Box::new(frames::open(&path)?), fleet)?;
        // The name itself must survive a crash too.
        frames::sync_folder_of(&path)?;
        Ok((Self { path: Some(path), ..journal }, sequencer))
    }

    /// Opens a log over any file.
    pub fn over(mut file: Box<dyn LogFile>, fleet: &Name) -> io::Result<(Self, Sequencer)> {
        let bytes = file.read_all()?;
        let found = read(&bytes, fleet)?;
        if frames::is_damaged(&bytes, found.good, MAGIC.len()) {
            tracing::error!(
                kept = found.records,
                octet = found.good,
                lost = bytes.len() - found.good,
                "the fleet's log is damaged; what follows is lost here, and its members put it back"
            );
        }
        file.truncate(found.good as u64)?;
        if found.good == 0 {
            file.append(MAGIC)?;
        }
        let len = found.good.max(MAGIC.len()) as u64;
        let (fleet, condition) = (fleet.clone(), Condition::Open);
        let mut journal = Self { file, path: None, fleet, len, records: found.records, condition };
        let sequencer = journal.begin(found)?;
        Ok((journal, sequencer))
    }

    // Writes down that this process holds the log now, and in which epoch. With that an orderly end
    // before it no longer counts.
    fn begin(&mut self, found: Found) -> io::Result<Sequencer> {
        let Some(mut sequencer) = found.sequencer else {
            let (fleet, epoch, past) = (self.fleet.clone(), new_epoch(), Past::default());
            let sequencer = Sequencer::resume(epoch, past.clone());
            self.append([Entry::Begin { fleet, epoch, past }])?;
            return Ok(sequencer);
        };
        let old = sequencer.epoch();
        let epoch = if found.is_closed { old } else { new_epoch() };
        self.append([Entry::Epoch(epoch)])?;
        if epoch != old {
            tracing::warn!(
                records = found.records,
                "the fleet's log was not closed in order; it goes on in a new epoch"
            );
            // It is named rightly, and another one.
            let _ = sequencer.fence(old, epoch);
        }
        Ok(sequencer)
    }

    /// Octets of the file.
    pub const fn octets(&self) -> u64 {
        self.len
    }

    /// Writes entries down and syncs them, all by one sync. An error means that none of them
    /// counts.
    pub fn append<'r>(
        &mut self,
        entries: impl IntoIterator<Item = Entry<&'r Record>>,
    ) -> io::Result<()> {
        match self.condition {
            Condition::Open => {}
            Condition::Broken => {
                return Err(io::Error::other(
                    "the fleet's log could not be written before; restart after mending the disk",
                ));
            }
            Condition::Closed => return Err(io::Error::other("the fleet's log is closed")),
        }
        let mut bytes = Vec::with_capacity(512);
        let mut records = 0;
        for entry in entries {
            records += usize::from(matches!(entry, Entry::Record(_)));
            frames::encode(&entry, &mut bytes)?;
        }
        let written = self.file.append(&bytes).and_then(|()| self.file.sync());
        if let Err(error) = written {
            let taken_back = self.file.truncate(self.len).and_then(|()| self.file.sync());
            if taken_back.is_err() {
                self.condition = Condition::Broken;
            }
            return Err(error);
        }
        self.len += bytes.len() as u64;
        self.records += records;
        Ok(())
    }

    /// Notes an orderly end. Nothing is taken from here on.
    pub fn close(&mut self) -> io::Result<()> {
        self.append([Entry::Closed])?;
        self.condition = Condition::Closed;
        Ok(())
    }

    /// Says whether a file that has `kept` records which still count is mostly made of others.
    pub fn is_mostly_trimmed(&self, kept: usize) -> bool {
        let is_worth_it = self.len > REWRITE_AT && kept < self.records / 2;
        let is_needed = self.len > OCTETS_MAX && kept < self.records;
        self.path.is_some() && (is_worth_it || is_needed)
    }

    /// Writes the file anew with what still counts. Appends wait for it: it is as long as what the
    /// fleet keeps, and comes once for as much as was trimmed.
    pub fn rewrite(&mut self, epoch: Epoch, past: Past, kept: &[Arc<Record>]) -> io::Result<()> {
        let Some(path) = self.path.clone().filter(|_| self.condition == Condition::Open) else {
            return Ok(());
        };
        let fresh = path.with_extension("new");
        let mut out = BufWriter::new(frames::create(&fresh)?);
        let mut len = MAGIC.len();
        out.write_all(MAGIC)?;
        let begin = Entry::Begin { fleet: self.fleet.clone(), epoch, past };
        let records = kept.iter().map(|record| Entry::Record(&**record));
        let mut bytes = Vec::new();
        for entry in std::iter::once(begin).chain(records) {
            bytes.clear();
            frames::encode(&entry, &mut bytes)?;
            out.write_all(&bytes)?;
            len += bytes.len();
        }
        let file: File = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        std::fs::rename(&fresh, &path)?;
        // From here on the old file has no name: whatever is written must go to the new one.
        self.file = Box::new(file);
        self.len = len as u64;
        self.records = kept.len();
        let named = frames::sync_folder_of(&path);
        if named.is_err() {
            self.condition = Condition::Broken;
        }
        named
    }
}

fn new_epoch() -> Epoch {
    Epoch(RecordId::random())
}

/// What a file says.
struct Found {
    /// Absent where not even the first entry is there.
    sequencer: Option<Sequencer>,
    /// Octets that hold.
    good: usize,
    records: usize,
    is_closed: bool,
}

// Takes all whole entries.
fn read(bytes: &[u8], fleet: &Name) -> io::Result<Found> {
    let mut found = Found { sequencer: None, good: 0, records: 0, is_closed: false };
    if bytes.len() < MAGIC.len() && MAGIC.starts_with(bytes) {
        return Ok(found);
    }
    if !bytes.starts_with(MAGIC) {
        return Err(io::Error::other("fleet.log is no log of a fleet of Foreshore"));
    }
    found.good = MAGIC.len();
    while let Some((entry, next)) = frames::decode::<Entry<Record>>(bytes, found.good) {
        let taken = found.take(entry, fleet);
        taken.map_err(|why| {
            io::Error::other(format!("fleet.log cannot be followed at octet {}: {why}", found.good))
        })?;
        found.good = next;
    }
    // Whatever comes after it, whole or not, was written by another process.
    found.is_closed &= found.good == bytes.len();
    Ok(found)
}

impl Found {
    fn take(&mut self, entry: Entry<Record>, fleet: &Name) -> Result<(), String> {
        self.is_closed = matches!(entry, Entry::Closed);
        let Some(sequencer) = &mut self.sequencer else {
            let Entry::Begin { fleet: of, epoch, past } = entry else {
                return Err("it does not say whose log it is".into());
            };
            if of != *fleet {
                return Err(format!(
                    "it is the log of the fleet {:?}, and this one is {:?}; name the fleet as before, or put the file aside",
                    of.as_str(),
                    fleet.as_str()
                ));
            }
            self.sequencer = Some(Sequencer::resume(epoch, past));
            return Ok(());
        };
        match entry {
            Entry::Begin { .. } => return Err("it begins twice".into()),
            Entry::Epoch(epoch) => {
                let old = sequencer.epoch();
                if epoch != old {
                    sequencer.fence(old, epoch).map_err(|refusal| refusal.name().to_string())?;
                }
            }
            Entry::Record(record) => {
                sequencer
                    .commit(Arc::new(record))
                    .map_err(|_| "a record does not follow the one before it".to_string())?;
                self.records += 1;
            }
            Entry::Trimmed(upto) => {
                sequencer.cut(upto);
            }
            Entry::Closed => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::protocol::{Change, Kept, KeptEntry, MemberId, Payload};
    use super::super::sequencer::Proposal;
    use super::*;
    use crate::distribution::fleet::Prefer;
    use crate::invalidation::chain::Incarnation;
    use crate::invalidation::frames::disk::Disk;

    fn fleet() -> Name {
        Name::parse("own").unwrap()
    }

    fn over(disk: &Disk) -> (Journal, Sequencer) {
        Journal::over(Box::new(disk.clone()), &fleet()).unwrap()
    }

    fn ticket() -> Payload {
        Payload::TicketKeys { wrapped: "k".into() }
    }

    fn join(name: &str) -> Payload {
        let member =
            MemberId { name: Name::parse(name).unwrap(), incarnation: Incarnation::random() };
        Payload::Member { change: Change::Join, member, prefer: Prefer::Freshness, program: None }
    }

    fn propose(sequencer: &Sequencer, payload: Payload) -> Arc<Record> {
        let proposed = sequencer.propose(sequencer.epoch(), RecordId::random(), payload);
        let Ok(Proposal::New(record)) = proposed else { panic!("it is new") };
        Arc::new(record)
    }

    fn append(journal: &mut Journal, sequencer: &mut Sequencer, payload: Payload) {
        let record = propose(sequencer, payload);
        journal.append([Entry::Record(&*record)]).unwrap();
        sequencer.commit(record).unwrap();
    }

    #[test]
    fn an_orderly_end_keeps_the_epoch_once() {
        let disk = Disk::default();
        let (mut journal, mut sequencer) = over(&disk);
        append(&mut journal, &mut sequencer, ticket());
        journal.close().unwrap();
        assert!(journal.append([Entry::Trimmed(FleetNumber(0))]).is_err(), "it is closed");
        let (journal, again) = over(&disk);
        assert_eq!(again, sequencer, "with its epoch");
        drop(journal);
        let (_, again) = over(&disk);
        assert_ne!(again.epoch(), sequencer.epoch(), "the orderly end was used up");
        assert_eq!((again.head(), again.floor()), (sequencer.head(), sequencer.floor()));
    }

    #[test]
    fn what_was_not_synced_is_lost_with_the_epoch() {
        for torn in 0..200 {
            let disk = Disk::default();
            let (mut journal, mut sequencer) = over(&disk);
            append(&mut journal, &mut sequencer, ticket());
            let lost = propose(&sequencer, ticket());
            frames::encode(&Entry::Record(&*lost), &mut disk.0.lock().cached).unwrap();
            disk.power_off(torn);
            let (_, again) = over(&disk);
            assert_ne!(again.epoch(), sequencer.epoch());
            // Unless all of it came to the disk by chance.
            let is_there = again.head() == lost.place();
            assert!(is_there || again.head() == sequencer.head(), "{torn}");
        }
    }

    #[test]
    fn an_end_that_is_not_the_last_word_counts_for_nothing() {
        let disk = Disk::default();
        let (mut journal, sequencer) = over(&disk);
        journal.close().unwrap();
        disk.0.lock().cached.extend_from_slice(&[7; 5]);
        assert_ne!(over(&disk).1.epoch(), sequencer.epoch());
    }

    #[test]
    fn an_append_that_fails_leaves_nothing() {
        let disk = Disk::default();
        let (mut journal, mut sequencer) = over(&disk);
        append(&mut journal, &mut sequencer, join("a"));
        let before = (journal.octets(), disk.0.lock().cached.clone());
        disk.0.lock().fail = true;
        let record = propose(&sequencer, ticket());
        assert!(journal.append([Entry::Record(&*record)]).is_err());
        disk.0.lock().fail = false;
        assert_eq!((journal.octets(), disk.0.lock().cached.clone()), before);
        append(&mut journal, &mut sequencer, ticket());
        journal.close().unwrap();
        assert_eq!(over(&disk).1, sequencer);
    }

    #[test]
    fn the_roster_outlives_what_was_trimmed() {
        let disk = Disk::default();
        let (mut journal, mut sequencer) = over(&disk);
        for payload in [join("a"), join("b"), ticket(), ticket()] {
            append(&mut journal, &mut sequencer, payload);
        }
        let floor = sequencer.cut(FleetNumber(3));
        journal.append([Entry::Trimmed(floor.number)]).unwrap();
        journal.close().unwrap();
        let (_, again) = over(&disk);
        assert_eq!((&again, again.floor(), again.roster().len()), (&sequencer, floor, 2));
    }

    #[test]
    fn a_damaged_log_is_kept_and_goes_on_in_a_new_epoch() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, mut sequencer) = Journal::open(folder.path(), &fleet()).unwrap();
        append(&mut journal, &mut sequencer, ticket());
        let (first, good) = (sequencer.head(), journal.octets());
        append(&mut journal, &mut sequencer, ticket());
        journal.close().unwrap();
        drop(journal);
        let path = folder.path().join("fleet.log");
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[usize::try_from(good).unwrap() + 20] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let (_, again) = Journal::open(folder.path(), &fleet()).unwrap();
        assert_eq!(again.head(), first);
        assert_ne!(again.epoch(), sequencer.epoch());
        assert_eq!(std::fs::read(folder.path().join("fleet.damaged")).unwrap(), bytes);
    }

    #[test]
    fn what_is_no_log_of_this_fleet_is_refused() {
        let disk = Disk::default();
        let (journal, _) = over(&disk);
        let other = Name::parse("other").unwrap();
        let refused = Journal::over(Box::new(disk.clone()), &other).err().unwrap();
        assert!(refused.to_string().contains("\"own\""), "{refused}");
        drop(journal);
        disk.0.lock().cached[0] ^= 1;
        assert!(Journal::over(Box::new(disk.clone()), &fleet()).is_err());
        // A record that follows on nothing.
        let disk = Disk::default();
        let (mut journal, mut sequencer) = over(&disk);
        let record = propose(&sequencer, ticket());
        sequencer.commit(Arc::clone(&record)).unwrap();
        let later = propose(&sequencer, ticket());
        journal.append([Entry::Record(&*later)]).unwrap();
        let refused = Journal::over(Box::new(disk), &fleet()).err().unwrap();
        assert!(refused.to_string().contains("does not follow"), "{refused}");
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_files_never_panic(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        ) {
            let _ = read(&bytes, &fleet());
            let ours = [MAGIC, &bytes[..]].concat();
            let _ = read(&ours, &fleet());
        }
    }

    #[test]
    fn a_rewritten_log_says_the_same_in_less() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, mut sequencer) = Journal::open(folder.path(), &fleet()).unwrap();
        append(&mut journal, &mut sequencer, join("a"));
        let content = Some("{}".into());
        let entries = vec![KeptEntry { name: "document/distribution/E1".into(), content }];
        let kept = Kept { after: FleetNumber(0), entries };
        append(&mut journal, &mut sequencer, Payload::Document(kept));
        for _ in 0..50 {
            append(&mut journal, &mut sequencer, ticket());
        }
        append(&mut journal, &mut sequencer, join("a"));
        append(&mut journal, &mut sequencer, join("b"));
        assert!(!journal.is_mostly_trimmed(sequencer.count()), "it is short");
        sequencer.cut(FleetNumber(40));
        let before = journal.octets();
        journal.rewrite(sequencer.epoch(), sequencer.past(), &sequencer.kept()).unwrap();
        assert!(journal.octets() < before / 2);
        append(&mut journal, &mut sequencer, ticket());
        journal.close().unwrap();
        let len = std::fs::metadata(folder.path().join("fleet.log")).unwrap().len();
        assert_eq!(len, journal.octets());
        let (_, again) = Journal::open(folder.path(), &fleet()).unwrap();
        assert_eq!(again, sequencer);
        assert_eq!(again.kept_after("").held.len(), 1, "though its record was let go of");
    }
}

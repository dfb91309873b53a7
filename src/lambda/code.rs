//! Where the code of a function lies: zips are unpacked once under their digest, folders are used
//! in place; and whether either has changed.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{Context, SHA256};

use super::zip;

/// Octets of a zip itself.
const ZIP_MAX: u64 = zip::UNPACKED_MAX;

/// What code looks like from outside: names, lengths and times. Another one means other code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark([u8; 32]);

/// Makes the code ready and says where it lies.
///
/// A folder is itself. A zip is unpacked below `store`, in a folder that is named by its SHA-256,
/// unless it is there already; it appears there whole or not at all.
///
/// # Errors
///
/// If the code is not there, cannot be read, or is a zip that must not be unpacked: why, with the
/// path.
pub fn prepare(code: &Path, store: &Path) -> Result<PathBuf, String> {
    let told = |error: io::Error| format!("{}: {error}", code.display());
    if fs::metadata(code).map_err(told)?.is_dir() {
        return fs::canonicalize(code).map_err(told);
    }
    let mut file = File::open(code).map_err(told)?;
    let digest = sha256(&mut file).map_err(told)?;
    fs::create_dir_all(store).map_err(|error| format!("{}: {error}", store.display()))?;
    let store = fs::canonicalize(store).map_err(told)?;
    let place = store.join(&digest);
    if place.is_dir() {
        return Ok(place);
    }
    // Two edges, or two functions of one zip, may be at it at once: each has a folder of its own.
    let part = store.join(format!("{digest}.part-{}", std::process::id()));
    let _ = fs::remove_dir_all(&part);
    let unpacked = unpack_all(&mut file, &part);
    let moved = unpacked.and_then(|()| match fs::rename(&part, &place) {
        Err(_) if place.is_dir() => Ok(()),
        other => other,
    });
    if moved.is_err() || part.exists() {
        let _ = fs::remove_dir_all(&part);
    }
    moved.map_err(told)?;
    Ok(place)
}

/// What a file is called that says that a process runs code from here, before the number of that
/// process and one within it. It is locked for as long as that is so: numbers of processes come
/// back.
const USED_BY: &str = "used-by-";

static NEXT_USE: AtomicU64 = AtomicU64::new(0);

/// Has other processes know that this one runs code that was unpacked in a folder, until what it
/// gives is dropped.
pub fn note_use(folder: &Path) -> io::Result<File> {
    let number = NEXT_USE.fetch_add(1, Ordering::Relaxed);
    let place = folder.join(format!("{USED_BY}{}-{number}", std::process::id()));
    // Nobody finds it before it is locked.
    let part = place.with_extension("part");
    let file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&part)?;
    file.lock()?;
    fs::rename(&part, &place)?;
    Ok(file)
}

/// Says whether another process runs code that was unpacked in a folder, as one does that has
/// handed its place over and drains.
pub fn is_used_by_others(folder: &Path) -> bool {
    let own = std::process::id();
    let mut entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.any(|entry| {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| {
            let (process, number) = name.strip_prefix(USED_BY)?.split_once('-')?;
            number.parse::<u64>().ok()?;
            process.parse::<u32>().ok()
        });
        if process.is_none_or(|process| process == own) {
            return false;
        }
        let Ok(file) = File::open(entry.path()) else { return false };
        let is_alive = file.try_lock().is_err();
        if !is_alive {
            let _ = fs::remove_file(entry.path());
        }
        is_alive
    })
}

/// Puts aside what was unpacked below `store` and has none of these names, and what others left half
/// done; gives back where it lies, to be removed. Nothing may be made ready meanwhile.
pub fn set_aside(store: &Path, used: &HashSet<OsString>) -> Vec<PathBuf> {
    let mut aside = Vec::new();
    for entry in fs::read_dir(store).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if used.contains(&name) {
            continue;
        }
        let Some(name) = name.to_str() else { continue };
        let is_digest =
            |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        if is_digest(name) {
            // From here on it is found by none; how long its end takes is of no matter.
            let gone = store.join(format!("{name}.gone-{}", std::process::id()));
            if fs::rename(&path, &gone).is_ok() {
                aside.push(gone);
            }
            continue;
        }
        let Some((digest, rest)) = name.split_once('.') else { continue };
        let by = rest.strip_prefix("gone-").or_else(|| rest.strip_prefix("part-"));
        let is_left = by.is_some_and(|pid| !Path::new("/proc").join(pid).exists());
        if is_digest(digest) && is_left {
            aside.push(path);
        }
    }
    aside
}

/// Removes what was put aside.
pub fn remove(aside: &[PathBuf]) {
    for path in aside {
        let _ = fs::remove_dir_all(path);
    }
}

fn sha256(file: &mut File) -> io::Result<String> {
    let length = file.metadata()?.len();
    if length > ZIP_MAX {
        let why = format!("the zip has {length} octets, and may have {ZIP_MAX}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    let mut context = Context::new(&SHA256);
    let mut octets = vec![0; 64 * 1024];
    loop {
        match file.read(&mut octets)? {
            0 => break,
            n => context.update(&octets[..n]),
        }
    }
    Ok(context.finish().as_ref().iter().map(|octet| format!("{octet:02x}")).collect())
}

fn unpack_all(file: &mut File, folder: &Path) -> io::Result<()> {
    fs::create_dir(folder)?;
    for entry in zip::entries(file)? {
        let to = folder.join(&entry.name);
        if entry.is_folder {
            fs::create_dir_all(&to)?;
            continue;
        }
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        let mode = if entry.is_program { 0o755 } else { 0o644 };
        // A name that comes twice is refused.
        let mut out = File::options().write(true).create_new(true).mode(mode).open(&to)?;
        zip::unpack(file, &entry, &mut out)?;
        out.set_permissions(fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// Looks at the code without reading it.
///
/// # Errors
///
/// If it is not there, or is a folder with more than 50,000 files.
pub fn mark(code: &Path) -> io::Result<Mark> {
    let mut context = Context::new(&SHA256);
    let mut open = vec![code.to_path_buf()];
    let mut seen = 0usize;
    while let Some(path) = open.pop() {
        seen += 1;
        if seen > zip::FILES_MAX {
            let why = format!("it has more than {} files", zip::FILES_MAX);
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        // Links of a folder that is used in place are the operator's own; they are not followed
        // here.
        let about = if path == code { fs::metadata(&path)? } else { fs::symlink_metadata(&path)? };
        context.update(path.as_os_str().as_encoded_bytes());
        for fact in [about.len(), about.ino(), about.mode().into()] {
            context.update(&fact.to_le_bytes());
        }
        for fact in [about.mtime(), about.mtime_nsec()] {
            context.update(&fact.to_le_bytes());
        }
        if about.is_dir() {
            let mut below = fs::read_dir(&path)?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<io::Result<Vec<_>>>()?;
            // Python writes these itself.
            below.retain(|path| !path.ends_with("__pycache__"));
            below.sort_unstable();
            open.append(&mut below);
        }
    }
    let mut mark = [0; 32];
    mark.copy_from_slice(context.finish().as_ref());
    Ok(Mark(mark))
}

#[cfg(test)]
mod tests {
    use super::super::samples::{self, Made};
    use super::*;

    #[test]
    fn a_zip_is_unpacked_once_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (zip, store) = (folder.path().join("f.zip"), folder.path().join("store"));
        let files: [Made<'_>; 2] = [("index.js", 0o100_644, b"1"), ("bin/tool", 0o100_755, b"2")];
        fs::write(&zip, samples::zip(&files)).unwrap();
        let place = prepare(&zip, &store).unwrap();
        assert_eq!(fs::read(place.join("index.js")).unwrap(), b"1");
        let mode = |name: &str| fs::metadata(place.join(name)).unwrap().permissions().mode();
        assert_eq!(mode("bin/tool") & 0o777, 0o755);
        assert_eq!(mode("index.js") & 0o777, 0o644);
        // The second time it is only found.
        fs::write(place.join("trace"), "").unwrap();
        assert_eq!(prepare(&zip, &store).unwrap(), place);
        assert!(place.join("trace").exists());
        // Of what must not be unpacked nothing stays.
        let bad: [Made<'_>; 2] = [("a", 0o100_644, b"1"), ("a", 0o100_644, b"2")];
        fs::write(&zip, samples::zip(&bad)).unwrap();
        assert!(prepare(&zip, &store).unwrap_err().contains("f.zip"));
        assert_eq!(fs::read_dir(&store).unwrap().count(), 1);
    }

    #[test]
    fn what_is_in_no_use_is_put_aside_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path();
        let (used, old, half) = ("a".repeat(64), "b".repeat(64), "c".repeat(64));
        let ours = format!("{half}.part-{}", std::process::id());
        let theirs = format!("{half}.part-4294967295");
        for name in [&used, &old, &ours, &theirs, &"other".to_string()] {
            fs::create_dir(store.join(name)).unwrap();
        }
        let aside = set_aside(store, &HashSet::from([OsString::from(&used)]));
        assert_eq!(aside.len(), 2, "{aside:?}");
        assert!(!store.join(&old).exists());
        remove(&aside);
        let mut left: Vec<_> = fs::read_dir(store)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort_unstable();
        assert_eq!(left, [used, ours, "other".into()]);
        assert!(set_aside(&store.join("none"), &HashSet::new()).is_empty());
    }

    #[test]
    fn it_is_known_which_processes_run_code_of_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let own = note_use(folder.path()).unwrap();
        assert!(!is_used_by_others(folder.path()), "nobody else does");
        let other = folder.path().join(format!("{USED_BY}4294967295-0"));
        let held = File::create(&other).unwrap();
        held.try_lock().unwrap();
        assert!(is_used_by_others(folder.path()));
        // By its own word: a process that another test starts just then has the file open, too.
        held.unlock().unwrap();
        assert!(!is_used_by_others(folder.path()), "it has ended");
        assert!(!other.exists());
        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "and this one's own stays");
        drop(own);
    }

    #[test]
    fn a_folder_is_used_in_place_and_each_change_shows() {
        let folder = tempfile::tempdir().unwrap();
        let code = folder.path();
        fs::write(code.join("index.js"), "1").unwrap();
        assert_eq!(prepare(code, &code.join("store")).unwrap(), fs::canonicalize(code).unwrap());
        let mut marks = vec![mark(code).unwrap()];
        assert_eq!(mark(code).unwrap(), marks[0]);
        fs::create_dir(code.join("lib")).unwrap();
        marks.push(mark(code).unwrap());
        fs::write(code.join("lib/a.js"), "1").unwrap();
        marks.push(mark(code).unwrap());
        fs::write(code.join("lib/a.js"), "12").unwrap();
        marks.push(mark(code).unwrap());
        fs::rename(code.join("lib/a.js"), code.join("lib/b.js")).unwrap();
        marks.push(mark(code).unwrap());
        for (n, one) in marks.iter().enumerate() {
            assert!(!marks[n + 1..].contains(one), "change {n} does not show");
        }
        assert!(mark(&code.join("none")).is_err());
    }
}

//! Where the code of a function lies: zips are unpacked once under their digest, folders are used
//! in place; and whether either has changed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

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

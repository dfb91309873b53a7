//! How a file is as far as its folder tells: whoever writes it, or puts another in its place, leaves
//! another stamp.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What is told of a file beside its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The stamp of a file now; `None` where there is none.
pub fn of(path: &Path) -> Option<Stamp> {
    let facts = std::fs::metadata(path).ok()?;
    Some(Stamp {
        device: facts.dev(),
        inode: facts.ino(),
        len: facts.len(),
        modified: (facts.mtime(), facts.mtime_nsec()),
        changed: (facts.ctime(), facts.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_under_the_same_name_has_another_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        assert_eq!(of(&path), None);
        std::fs::write(&path, "one").unwrap();
        let first = of(&path);
        assert!(first.is_some() && first == of(&path));
        std::fs::write(folder.path().join("b"), "two").unwrap();
        std::fs::rename(folder.path().join("b"), &path).unwrap();
        assert_ne!(of(&path), first);
    }
}

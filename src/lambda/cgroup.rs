//! A bound of the kernel for the memory of a worker: a cgroup (version 2) of its own, below one that
//! the operator has given to the edge.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The cgroup of one worker. Dropped, whatever is left in it is killed.
pub struct Cgroup {
    folder: PathBuf,
}

impl Cgroup {
    /// Makes one below another, whose memory controller has to be on for those below it.
    ///
    /// # Errors
    ///
    /// If it cannot be made, or has no bound for memory.
    pub fn make(parent: &Path, name: &str, memory: u64) -> io::Result<Self> {
        let folder = parent.join(format!("{}{name}", prefix(std::process::id())));
        fs::create_dir(&folder)?;
        let made = Self { folder };
        made.write("memory.max", &memory.to_string())?;
        // What a worker started ends with it.
        made.write("memory.oom.group", "1")?;
        // Without swap there is no such file.
        let _ = made.write("memory.swap.max", "0");
        Ok(made)
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        let path = self.folder.join(file);
        // A file that is not there is not to be made: then this is no cgroup, or one without memory.
        let mut open = fs::File::options().write(true).open(path)?;
        io::Write::write_all(&mut open, text.as_bytes())
    }

    /// The file in which a process writes `0` to be in it.
    pub fn door(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }

    /// Says whether the kernel has killed a process for its memory.
    pub fn ran_out(&self) -> bool {
        let events = fs::read_to_string(self.folder.join("memory.events")).unwrap_or_default();
        killed_in(&events) > 0
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = self.write("cgroup.kill", "1");
        // What is not gone yet keeps it; the next start takes it away.
        let _ = fs::remove_dir(&self.folder);
    }
}

fn killed_in(events: &str) -> u64 {
    let count = |line: &str| line.strip_prefix("oom_kill ")?.trim().parse().ok();
    events.lines().find_map(count).unwrap_or(0)
}

// What those of a process are called.
fn prefix(pid: u32) -> String {
    format!("foreshore-{pid}-")
}

/// Says why no worker can have a cgroup below this one; takes away those of processes that are gone.
///
/// # Errors
///
/// Why.
pub fn check(parent: &Path) -> Result<(), String> {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix("foreshore-")?.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
    let made = Cgroup::make(parent, "probe", 128 << 20);
    made.map(drop).map_err(|error| format!("{}: {error}", parent.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_no_cgroup_is_refused_and_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("foreshore-4294967295-f-1")).unwrap();
        let why = check(folder.path()).unwrap_err();
        assert!(why.contains(&folder.path().display().to_string()), "{why}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(check(&folder.path().join("none")).is_err());
    }

    #[test]
    fn a_kill_is_read_from_the_events() {
        assert_eq!(killed_in("low 0\nhigh 0\nmax 7\noom 1\noom_kill 2\noom_group_kill 1\n"), 2);
        assert_eq!(killed_in("low 0\n"), 0);
    }
}

//! Rights that the process gives up once its sockets are bound, while it has one thread: what is
//! given up by one holds for those that it starts, and for no other.

use std::path::{Path, PathBuf};
use std::{fs, io};

use landlock::{
    ABI, AccessFs, CompatLevel, Compatible, RestrictionStatus, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, path_beneath_rules,
};
use rustix::process::{
    DumpableBehavior, Gid, Resource, Rlimit, Uid, getgid, getuid, set_dumpable_behavior, setrlimit,
};
use rustix::thread::{set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::distribution::logs::LogSettings;
use crate::distribution::process::{CoreDumps, NewPrivileges, Process};
use crate::distribution::site::Site;
use crate::lambda::launch::{UserIds, find_user};

/// The rights to write that are asked for; an older kernel gives fewer.
const RIGHTS: ABI = ABI::V3;

/// What programs that are run write to whatever they do.
const SINKS: &[&str] = &["/dev/null", "/dev/zero"];

/// Becomes the user of the configuration, and gives up what goes with the process.
///
/// # Errors
///
/// If any of it cannot be done: an edge that has more rights than it was told to have does not run.
pub fn give_up(process: &Process) -> Result<(), String> {
    if *process == Process::default() {
        return Ok(());
    }
    let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads > 1 {
        return Err(format!("[process] comes too late: there are {threads} threads already"));
    }
    if let Some(name) = &process.user {
        let failed = |why: String| {
            format!("process.user {name:?}: {why}; only root may become another user")
        };
        let ids = find_user(name).map_err(failed)?;
        become_user(ids, name).map_err(|error| failed(error.to_string()))?;
    }
    if process.new_privileges == NewPrivileges::Refused {
        set_no_new_privs(true).map_err(|error| format!("process.new_privileges: {error}"))?;
    }
    // A change of user takes it back, so it comes behind that.
    if process.core_dumps == CoreDumps::Off {
        set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .map_err(|error| format!("process.core_dumps: {error}"))?;
        // For programs that are run; where limits may not be changed, theirs are the system's.
        let none = Rlimit { current: Some(0), maximum: Some(0) };
        let _ = setrlimit(Resource::Core, none);
    }
    Ok(())
}

fn become_user(ids: UserIds, name: &str) -> io::Result<()> {
    let (user, group) = (Uid::from_raw(ids.user), Gid::from_raw(ids.group));
    if getuid() == user && getgid() == group {
        return Ok(());
    }
    let text = fs::read_to_string("/etc/group").unwrap_or_default();
    let groups: Vec<Gid> = groups_in(&text, name).into_iter().map(Gid::from_raw).collect();
    set_thread_groups(&groups)?;
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(user, user, user)?;
    Ok(())
}

// The groups that name a user as a member: keys of certificates are often a group's to read.
fn groups_in(text: &str, name: &str) -> Vec<u32> {
    let of_line = |line: &str| {
        let mut parts = line.split(':').skip(2);
        let (number, members) = (parts.next()?, parts.next()?);
        members.split(',').any(|member| member == name).then(|| number.parse::<u32>().ok())?
    };
    text.lines().filter_map(of_line).collect()
}

/// Confines what the process, and whatever it runs, may write to. Says what the kernel cannot do of
/// it.
///
/// # Errors
///
/// If a folder is not there: nothing could be written to it afterwards.
pub fn confine(site: &Site) -> Result<Option<String>, String> {
    let Some(writable) = &site.process.writable else { return Ok(None) };
    let folders = written_to(site, writable);
    if let Some(missing) = folders.iter().find(|folder| !folder.is_dir()) {
        return Err(format!(
            "process.writable: the folder {} is not there, and could not be made later; make it first",
            missing.display()
        ));
    }
    let status = restrict_writes(&folders).map_err(|error| format!("process.writable: {error}"))?;
    let lacking = match status.ruleset {
        RulesetStatus::FullyEnforced => None,
        RulesetStatus::PartiallyEnforced => {
            Some("process.writable holds in part: this kernel has an older Landlock".to_string())
        }
        RulesetStatus::NotEnforced => {
            Some("process.writable does not hold: this kernel has no Landlock".to_string())
        }
    };
    Ok(lacking)
}

// The folders of the operator, and those that other settings name.
fn written_to(site: &Site, writable: &[PathBuf]) -> Vec<PathBuf> {
    let mut all = vec![site.data.clone()];
    all.extend(writable.iter().cloned());
    let mut add = |folder: Option<&Path>| {
        let folder = folder
            .map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
        // What lies in another of them is made there when it is wanted.
        if let Some(folder) = folder.filter(|folder| !all.iter().any(|own| folder.starts_with(own)))
        {
            all.push(folder.to_path_buf());
        }
    };
    if let Some(disk) = &site.store.disk {
        add(Some(disk.path.as_path()));
    }
    for log in [&site.log, &site.function_settings.log] {
        if let LogSettings::File(file) = log {
            add(file.parent());
        }
    }
    if let Some(standard) = &site.more_logs.standard {
        add(Some(standard.folder.as_path()));
    }
    for realtime in &site.more_logs.realtime {
        add(realtime.file.parent());
    }
    add(site.function_settings.cgroup.as_deref());
    for certificate in &site.acme {
        add(Some(certificate.folder.path().as_path()));
    }
    all
}

fn restrict_writes(folders: &[PathBuf]) -> Result<RestrictionStatus, RulesetError> {
    let write = AccessFs::from_write(RIGHTS);
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(write)?
        .create()?
        .add_rules(path_beneath_rules(folders, write))?
        .add_rules(path_beneath_rules(SINKS, write))?
        .restrict_self()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_further_groups_are_those_that_name_it() {
        let text = "root:x:0:\nssl-cert:x:110:postgres,foreshore\nadm:x:4:foreshore2\nlog:x:9:foreshore\nbroken:x:q:foreshore\n";
        assert_eq!(groups_in(text, "foreshore"), [110, 9]);
        assert!(groups_in(text, "nobody").is_empty());
    }

    // It holds for the thread alone, so the others of this program go on as they are.
    #[test]
    fn writing_is_confined_to_the_folders() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (own, other) = (inside.path().to_path_buf(), outside.path().to_path_buf());
        let confined = std::thread::spawn(move || {
            let status = restrict_writes(std::slice::from_ref(&own)).unwrap();
            fs::write(own.join("a"), b"a").unwrap();
            fs::write("/dev/null", b"a").unwrap();
            (status.ruleset, fs::write(other.join("a"), b"a"))
        });
        let (status, written) = confined.join().unwrap();
        assert_eq!(status == RulesetStatus::NotEnforced, written.is_ok(), "{status:?}");
    }

    #[test]
    fn nothing_is_given_up_where_nothing_is_said() {
        assert_eq!(give_up(&Process::default()), Ok(()));
    }
}

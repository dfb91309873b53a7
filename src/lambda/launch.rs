//! What a worker's process does before it becomes the worker: it gives up what it may not have, and
//! runs the program in its place.
//!
//! It is this same program, started as `foreshore __worker`: what must be done between fork and
//! exec is done after an exec, in a process with one thread, where it needs no unsafe code.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::fd::IntoRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, RestrictionStatus, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use rustix::fs::OFlags;
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use rustix::process::{
    Gid, Pid, Resource, Rlimit, Signal, Uid, getgid, getppid, getuid,
    set_parent_process_death_signal, setrlimit,
};
use rustix::thread::{
    UnshareFlags, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use serde::{Deserialize, Serialize};

/// Octets that a worker may write to one file.
const FILE_MAX: u64 = 512 << 20;
const DESCRIPTORS: u64 = 1024;

/// The newest rights that are asked for; of these a kernel gives what it has.
const RIGHTS: ABI = ABI::V6;

/// What an interpreter and its libraries are read from. Not `/proc` as a whole: there the
/// environment of the edge can be read, and what secrets it was given by it.
const SYSTEM: &[&str] = &[
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/bin",
    "/sbin",
    "/opt",
    "/etc/alternatives",
    "/etc/group",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/pki",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl",
    "/run/systemd/resolve",
    "/dev/null",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/self",
    "/proc/stat",
    "/proc/sys",
    "/proc/uptime",
    "/proc/version",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
];

/// Devices that may be written to.
const SINKS: &[&str] = &["/dev/null", "/dev/zero"];

const TMP: &str = "/tmp";

/// What to become, and under what terms. It is what `foreshore __worker` reads as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Orders {
    /// The program and its arguments; empty to try out only what the machine can do.
    pub argv: Vec<String>,
    /// Folders and files that may be read and executed, beside the system's.
    pub readable: Vec<PathBuf>,
    /// Folders that may be written to.
    pub writable: Vec<PathBuf>,
    /// Where the program begins.
    pub folder: PathBuf,
    /// The process that this one must not outlive.
    pub parent: i32,
    pub user: Option<String>,
    pub no_network: bool,
    /// Whether standard input is the connection to the edge.
    pub has_connection: bool,
}

/// The variable that tells a bootstrap its connection.
pub const CONNECTION: &str = "FORESHORE_API";

/// Reads the orders and carries them out.
///
/// Without a program it prints, a line each, what the machine cannot do. With one it returns only
/// if the program does not run.
pub fn run(orders: &str) -> ExitCode {
    let orders: Orders = match serde_json::from_str(orders) {
        Ok(orders) => orders,
        Err(error) => return fail(&format!("orders of a worker: {error}")),
    };
    let lacking = match give_up(&orders) {
        Ok(lacking) => lacking,
        Err(why) => return fail(&why),
    };
    let Some((program, arguments)) = orders.argv.split_first() else {
        lacking.iter().for_each(|what| println!("{what}"));
        return ExitCode::SUCCESS;
    };
    let mut command = Command::new(program);
    command.args(arguments).current_dir(&orders.folder);
    if orders.has_connection {
        match hold_connection() {
            Ok(descriptor) => command.env(CONNECTION, descriptor.to_string()),
            Err(error) => return fail(&format!("the connection to the edge: {error}")),
        };
    }
    let error = command.exec();
    fail(&format!("{program}: {error}"))
}

fn fail(why: &str) -> ExitCode {
    eprintln!("foreshore: {why}");
    ExitCode::FAILURE
}

/// Everything that is given up, in the one order in which it can be. What the machine does not know
/// is told by name; what it refuses although it was asked for by name is an error.
fn give_up(orders: &Orders) -> Result<Vec<String>, String> {
    let mut lacking = Vec::new();
    for (resource, most) in
        [(Resource::Core, 0), (Resource::Nofile, DESCRIPTORS), (Resource::Fsize, FILE_MAX)]
    {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        if let Err(error) = setrlimit(resource, limit) {
            lacking.push(format!("resource limits ({error})"));
        }
    }
    let ids = orders.user.as_deref().map(find_user).transpose()?;
    let has_tmp = match cover_tmp(orders) {
        Ok(has_tmp) => has_tmp,
        Err(error) => {
            lacking.push(format!("a /tmp of their own, TMPDIR names what they have ({error})"));
            false
        }
    };
    if orders.no_network {
        leave_network().map_err(|error| format!("network = \"none\": {error}"))?;
    }
    if let Some(ids) = ids {
        become_user(ids).map_err(|error| format!("user: {error}"))?;
    }
    // A change of user takes the signal back.
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        lacking.push(format!("the end of workers with the edge, PR_SET_PDEATHSIG ({error})"));
    }
    if getppid() != Pid::from_raw(orders.parent) {
        return Err("the edge has gone meanwhile".into());
    }
    if let Err(error) = set_no_new_privs(true) {
        lacking.push(format!("no_new_privs ({error})"));
    }
    match restrict_files(orders, has_tmp) {
        Ok(status) => match status.ruleset {
            RulesetStatus::FullyEnforced => {}
            RulesetStatus::PartiallyEnforced => {
                lacking.push("Landlock in part: this kernel knows an older version".into());
            }
            RulesetStatus::NotEnforced => {
                lacking.push("Landlock: workers may read and write what their user may".into());
            }
        },
        Err(error) => lacking.push(format!("Landlock ({error})")),
    }
    Ok(lacking)
}

fn restrict_files(orders: &Orders, has_tmp: bool) -> Result<RestrictionStatus, RulesetError> {
    let read = AccessFs::from_read(RIGHTS);
    let all = AccessFs::from_all(RIGHTS);
    let tmp = has_tmp.then_some(TMP);
    // Signals to other processes and abstract sockets of others, where the kernel knows that.
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .scope(Scope::from_all(RIGHTS))?
        .create()?
        .add_rules(path_beneath_rules(SYSTEM, read))?
        .add_rules(path_beneath_rules(&orders.readable, read))?
        .add_rules(path_beneath_rules(SINKS, AccessFs::from_file(RIGHTS)))?
        .add_rules(path_beneath_rules(&orders.writable, all))?
        .add_rules(path_beneath_rules(tmp, all))?
        .restrict_self()
}

// Puts the worker's own folder in the place of /tmp, for code that does not ask where to write. What
// lies below /tmp itself would be hidden by that; then it is left as it is, as where there is no
// folder. Says whether it was done.
fn cover_tmp(orders: &Orders) -> io::Result<bool> {
    let is_below = |path: &PathBuf| path.starts_with(TMP);
    if orders.readable.iter().chain(&orders.writable).any(is_below) {
        return Ok(false);
    }
    unshare(UnshareFlags::NEWNS)?;
    let Some(own) = orders.writable.first() else { return Ok(false) };
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    mount_bind(own.as_path(), TMP)?;
    Ok(true)
}

/// A user's own and first group's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserIds {
    pub user: u32,
    pub group: u32,
}

/// Looks a user up in `/etc/passwd`, by name or number.
///
/// # Errors
///
/// If there is none of the name.
pub fn find_user(name: &str) -> Result<UserIds, String> {
    let text =
        fs::read_to_string("/etc/passwd").map_err(|error| format!("/etc/passwd: {error}"))?;
    user_in(&text, name).ok_or_else(|| format!("there is no user {name}"))
}

fn user_in(passwd: &str, name: &str) -> Option<UserIds> {
    passwd.lines().find_map(|line| {
        let mut parts = line.split(':');
        let (its_name, user, group) = (parts.next()?, parts.nth(1)?, parts.next()?);
        if its_name != name && user != name {
            return None;
        }
        Some(UserIds { user: user.parse().ok()?, group: group.parse().ok()? })
    })
}

fn become_user(ids: UserIds) -> io::Result<()> {
    let (user, group) = (Uid::from_raw(ids.user), Gid::from_raw(ids.group));
    if getuid() == user && getgid() == group {
        return Ok(());
    }
    set_thread_groups(&[])?;
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(user, user, user)?;
    Ok(())
}

// Only root may make a network namespace as it is; others do in a user namespace, in which they are
// themselves.
fn leave_network() -> io::Result<()> {
    if unshare(UnshareFlags::NEWNET).is_ok() {
        return Ok(());
    }
    let (user, group) = (getuid().as_raw(), getgid().as_raw());
    unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNET)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}

// What is deprecated is that tables of descriptors could be unshared by it, which is not asked for.
#[allow(deprecated)]
fn unshare(what: UnshareFlags) -> io::Result<()> {
    Ok(rustix::thread::unshare(what)?)
}

// Moves the connection from standard input to a descriptor that exec leaves open, where code that
// reads its standard input does not find it.
fn hold_connection() -> io::Result<i32> {
    let connection = rustix::io::dup(rustix::stdio::stdin())?;
    // Clients wait for it themselves.
    let flags = rustix::fs::fcntl_getfl(&connection)?;
    rustix::fs::fcntl_setfl(&connection, flags - OFlags::NONBLOCK)?;
    let nothing = fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nothing)?;
    // It stays open for the program that takes this one's place.
    Ok(connection.into_raw_fd())
}

/// Where a program lies that may be named without a path.
pub fn find_program(name: &str, path: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Path::new(name).is_file().then(|| PathBuf::from(name));
    }
    path.split(':').map(|folder| Path::new(folder).join(name)).find(|found| found.is_file())
}

/// What an interpreter is read from beside the system's folders: where it and what it is a link to
/// are installed, and for a Python environment what that was made from.
pub fn installed_at(program: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut add = |path: Option<&Path>| {
        // Nothing is installed in the root of the file system.
        if let Some(path) = path.filter(|path| path.components().count() > 1) {
            found.push(path.to_path_buf());
        }
    };
    let prefix = |program: &Path| program.parent()?.parent().map(Path::to_path_buf);
    let own = prefix(program);
    add(own.as_deref());
    if let Ok(real) = fs::canonicalize(program) {
        add(prefix(&real).as_deref());
    }
    let settings = own.and_then(|own| {
        let mut text = String::new();
        let file = fs::File::open(own.join("pyvenv.cfg")).ok()?;
        file.take(64 * 1024).read_to_string(&mut text).ok()?;
        Some(text)
    });
    for line in settings.iter().flat_map(|text| text.lines()) {
        if let Some(("home", home)) = line.split_once('=').map(|(n, v)| (n.trim(), v.trim())) {
            add(Path::new(home).parent());
        }
    }
    found
}

/// The orders as an argument.
pub fn written(orders: &Orders) -> OsString {
    serde_json::to_string(orders).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/:\nbroken:x:a:b\n";
        let web = Some(UserIds { user: 33, group: 34 });
        assert_eq!(user_in(passwd, "web"), web);
        assert_eq!(user_in(passwd, "33"), web);
        assert_eq!(user_in(passwd, "nobody"), None);
        assert_eq!(user_in(passwd, "broken"), None);
    }

    #[test]
    fn a_program_is_found_on_the_path_or_by_its_own() {
        assert_eq!(find_program("sh", "/nowhere:/bin"), Some("/bin/sh".into()));
        assert_eq!(find_program("/bin/sh", ""), Some("/bin/sh".into()));
        assert_eq!(find_program("no-such-program", "/bin:/usr/bin"), None);
    }

    #[test]
    fn orders_survive_being_written() {
        let orders = Orders {
            argv: vec!["/usr/bin/node".into(), "a \"b\"".into()],
            readable: vec!["/srv/code".into()],
            writable: vec![],
            folder: "/srv/code".into(),
            parent: 7,
            user: Some("web".into()),
            no_network: true,
            has_connection: true,
        };
        let again: Orders = serde_json::from_str(written(&orders).to_str().unwrap()).unwrap();
        assert_eq!(format!("{again:?}"), format!("{orders:?}"));
    }
}

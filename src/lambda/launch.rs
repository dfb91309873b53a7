//! What a worker's process does before it becomes the worker: it gives up what it may not have, and
//! runs the program in its place.
//!
//! It is this same program, started as `foreshore __worker`: what must be done between fork and
//! exec is done after an exec, in a process with one thread, where it needs no unsafe code.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::fd::IntoRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, ExitCode};

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, RestrictionStatus, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use rustix::fs::{Mode, OFlags, StatVfsMountFlags, statvfs};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount_bind, mount_bind_recursive,
    mount_change, mount_remount, unmount,
};
use rustix::process::{
    Gid, Pid, Resource, Rlimit, Signal, Uid, getgid, getppid, getuid,
    set_parent_process_death_signal, setrlimit, umask,
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
    /// The file by which it comes into its cgroup.
    pub cgroup: Option<PathBuf>,
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
    if let Some(door) = &orders.cgroup {
        // Zero is who writes.
        fs::write(door, "0").map_err(|error| format!("{}: {error}", door.display()))?;
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
// the worker is made of and lies below /tmp itself is mounted again within that folder first, where
// it will be found at its own path. Says whether it was done.
fn cover_tmp(orders: &Orders) -> io::Result<bool> {
    let below = below_tmp(orders);
    if below.contains_key(Path::new(TMP)) {
        eprintln!(
            "foreshore: no /tmp of its own: its interpreter is installed in /tmp itself; install it in a folder, or write to TMPDIR"
        );
        return Ok(false);
    }
    unshare(UnshareFlags::NEWNS)?;
    let Some(own) = orders.writable.first() else { return Ok(false) };
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    // Another user is to come through the folders that are made, whatever the edge's own mask.
    let mask = umask(Mode::from_raw_mode(0o022));
    let mounted = below.iter().try_for_each(|(place, may_write)| again(own, place, *may_write));
    umask(mask);
    mounted?;
    mount_bind_recursive(own.as_path(), TMP)?;
    Ok(true)
}

// What of a worker's folders lies below /tmp, an outer one before those within it, and whether it
// may be written to. A path may be a link to there, or lead through one that is there.
fn below_tmp(orders: &Orders) -> BTreeMap<PathBuf, bool> {
    let readable = orders.readable.iter().map(|path| (path, false));
    let writable = orders.writable.iter().map(|path| (path, true));
    let mut below = BTreeMap::new();
    for (path, may_write) in readable.chain(writable) {
        let Ok(real) = fs::canonicalize(path) else { continue };
        let is_plain = path.components().all(|part| part != Component::ParentDir);
        for place in [is_plain.then(|| path.clone()), Some(real)].into_iter().flatten() {
            if place.starts_with(TMP) {
                *below.entry(place).or_insert(false) |= may_write;
            }
        }
    }
    below
}

// Mounts a place below /tmp at the same place within the own folder. Landlock lets everything below
// that folder be written to, so what may only be read is mounted so.
fn again(own: &Path, place: &Path, may_write: bool) -> io::Result<()> {
    let Ok(below) = place.strip_prefix(TMP) else { return Ok(()) };
    let at = own.join(below);
    if !at.exists() {
        if place.is_dir() {
            fs::create_dir_all(&at)?;
        } else {
            at.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::File::create(&at)?;
        }
    }
    mount_bind(place, at.as_path())?;
    if may_write {
        return Ok(());
    }
    let done = statvfs(at.as_path())
        .and_then(|known| mount_remount(at.as_path(), read_only(known.f_flag), ""));
    if done.is_err() {
        // The worker goes on without a /tmp of its own, and could write to its code by this way.
        unmount(at.as_path(), UnmountFlags::DETACH)?;
    }
    done.map_err(io::Error::from)
}

// How what may only be read is mounted. Whatever is not run from where it lies is not run from
// here either: whoever is root in a namespace alone may not take that away from it.
fn read_only(known: StatVfsMountFlags) -> MountFlags {
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    if known.contains(StatVfsMountFlags::NOEXEC) { flags | MountFlags::NOEXEC } else { flags }
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

    fn orders(readable: &[&Path], writable: &[&Path]) -> Orders {
        let owned = |paths: &[&Path]| paths.iter().map(|path| path.to_path_buf()).collect();
        Orders {
            argv: vec!["/usr/bin/node".into(), "a \"b\"".into()],
            readable: owned(readable),
            writable: owned(writable),
            folder: "/srv/code".into(),
            parent: 7,
            user: Some("web".into()),
            no_network: true,
            has_connection: true,
            cgroup: Some("/sys/fs/cgroup/a/cgroup.procs".into()),
        }
    }

    #[test]
    fn what_lies_below_tmp_is_found_by_its_own_name_and_by_links() {
        let folder = tempfile::tempdir_in(TMP).unwrap();
        let [code, own] = ["code", "code/own"].map(|name| folder.path().join(name));
        fs::create_dir_all(&own).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("code", &link).unwrap();
        let around = folder.path().join("code/../code");
        let gone = folder.path().join("gone");
        let [at_code, at_own] = [code.as_path(), own.as_path()];
        let found = |readable: &[&Path], writable: &[&Path]| -> Vec<(PathBuf, bool)> {
            below_tmp(&orders(readable, writable)).into_iter().collect()
        };
        // An outer one first: what is mounted within it has to come on top.
        let (outer, inner) = ((code.clone(), false), (own.clone(), true));
        assert_eq!(found(&[at_code, Path::new("/usr")], &[at_own]), [outer.clone(), inner]);
        assert_eq!(found(&[link.as_path()], &[]), [outer.clone(), (link.clone(), false)]);
        assert_eq!(found(&[around.as_path(), gone.as_path()], &[]), [outer]);
        assert_eq!(found(&[at_code], &[at_code]), [(code.clone(), true)]);
        assert!(found(&[Path::new("/usr"), Path::new("/tmp/../usr")], &[]).is_empty());
    }

    #[test]
    fn what_is_mounted_again_is_no_more_than_it_was() {
        let mounted = |known: &[StatVfsMountFlags]| read_only(known.iter().copied().collect());
        let least = mounted(&[]);
        assert!(least.contains(MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV));
        assert!(!least.contains(MountFlags::NOEXEC));
        let noexec = mounted(&[StatVfsMountFlags::NOEXEC, StatVfsMountFlags::NODEV]);
        assert_eq!(noexec, least | MountFlags::NOEXEC);
    }

    #[test]
    fn orders_survive_being_written() {
        let orders = orders(&[Path::new("/srv/code")], &[]);
        let again: Orders = serde_json::from_str(written(&orders).to_str().unwrap()).unwrap();
        assert_eq!(format!("{again:?}"), format!("{orders:?}"));
    }
}

//! A worker as a process of its own group: started under orders, waited for, ended whole.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe::Receiver;

use super::launch::{Orders, written};

/// How long a process that was killed may take to be gone.
const GONE: Duration = Duration::from_secs(5);

/// A process and everything in its group. Dropped, it is killed.
pub struct Process {
    child: Child,
    pid: Pid,
    /// Readable once the process has ended.
    exit: AsyncFd<OwnedFd>,
    status: Option<ExitStatus>,
}

/// What a process writes.
pub struct Streams {
    pub stdout: Receiver,
    pub stderr: Receiver,
}

/// Starts a process. It must be done by a thread that lives as long as workers may: the kernel ends
/// them with it.
///
/// # Errors
///
/// If it cannot be started at all; what goes wrong afterwards is the end of the process.
pub fn start(
    launcher: &Path,
    orders: &Orders,
    environment: &[(String, String)],
    connection: Option<OwnedFd>,
) -> io::Result<(Process, Streams)> {
    let mut child = Command::new(launcher)
        .arg("__worker")
        .arg(written(orders))
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(connection.map_or_else(Stdio::null, Stdio::from))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let pid = Pid::from_child(&child);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let ready = || -> io::Result<(AsyncFd<OwnedFd>, Streams)> {
        let exit = watched(pidfd_open(pid, PidfdFlags::NONBLOCK)?)?;
        let missing = || io::Error::other("a stream of the worker is missing");
        let stdout = Receiver::from_owned_fd(stdout.ok_or_else(missing)?.into())?;
        let stderr = Receiver::from_owned_fd(stderr.ok_or_else(missing)?.into())?;
        Ok((exit, Streams { stdout, stderr }))
    };
    match ready() {
        Ok((exit, streams)) => Ok((Process { child, pid, exit, status: None }, streams)),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

// What is deprecated is that a descriptor could be closed while it is watched: an `OwnedFd` is
// closed when it is dropped, with the watch.
#[allow(deprecated)]
fn watched(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}

impl Process {
    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns once it has ended by itself or by a signal. It is not reaped yet.
    pub async fn ended(&self) {
        if self.exit.readable().await.is_err() {
            // Without a reactor nothing is waited for any more.
            std::future::pending::<()>().await;
        }
    }

    /// Asks it, and what it started, to end.
    pub fn ask_to_end(&self) {
        let _ = kill_process_group(self.pid, Signal::TERM);
    }

    /// Ends it and what it started, and reaps it. Says how it ended.
    pub async fn end(&mut self) -> Option<ExitStatus> {
        // Before it is reaped its number is its own, and so is its group's.
        let _ = kill_process_group(self.pid, Signal::KILL);
        let _ = self.child.kill();
        let _ = tokio::time::timeout(GONE, self.ended()).await;
        let _ = kill_process_group(self.pid, Signal::KILL);
        self.status = self.child.try_wait().ok().flatten();
        self.status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.status.is_none() {
            let _ = kill_process_group(self.pid, Signal::KILL);
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

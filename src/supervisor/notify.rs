//! What a service manager is told of this process: the protocol of `sd_notify`, datagrams to the
//! socket that the environment names.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How long a manager that reads nothing may hold this process up.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is sent on top of the time that a drain may take.
const LAST_WORDS: Duration = Duration::from_secs(15);

/// How often a manager without a watchdog is thought of.
const SELDOM: Duration = Duration::from_secs(3600);

/// What a manager is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Viewers are served.
    Ready,
    /// The configuration is being loaded again; it ends with `Reloaded`.
    Reloading,
    /// The configuration that was loaded again is in force, or the one before is.
    Reloaded(Outcome),
    /// No connection is accepted any more, and those that are open may take as long as this.
    Stopping(Duration),
    /// Every core goes on.
    Alive,
    /// The process with this id has taken this one's place.
    Succeeded(u32),
}

/// What became of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Taken,
    Refused,
}

/// The service manager that started this process, if one did.
pub struct Manager {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Manager {
    /// Finds it by the environment.
    ///
    /// # Errors
    ///
    /// If one is named and cannot be reached: it would wait for a word that never comes.
    pub fn from_environment() -> Result<Self, String> {
        let read = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let Some(name) = read("NOTIFY_SOCKET") else {
            return Ok(Self { socket: None, watchdog: None });
        };
        let socket = connect(&name).map_err(|error| format!("NOTIFY_SOCKET {name}: {error}"))?;
        let (time, of) = (read("WATCHDOG_USEC"), read("WATCHDOG_PID"));
        let watchdog = watchdog(time.as_deref(), of.as_deref(), std::process::id());
        Ok(Self { socket: Some(socket), watchdog })
    }

    /// How often it is to hear that the cores go on: three times in the time that it waits.
    pub fn interval(&self) -> Duration {
        self.watchdog.map_or(SELDOM, |time| (time / 3).max(Duration::from_millis(1)))
    }

    /// Tells it something.
    pub fn tell(&self, event: Event) {
        let Some(socket) = &self.socket else { return };
        if event == Event::Alive && self.watchdog.is_none() {
            return;
        }
        if let Err(error) = socket.send(written(event, monotonic_micros()).as_bytes()) {
            tracing::warn!(%error, ?event, "the service manager was not told");
        }
    }
}

// A name that begins with `@` is of the abstract namespace.
fn connect(name: &str) -> io::Result<UnixDatagram> {
    let address = match name.strip_prefix('@') {
        Some(rest) => SocketAddr::from_abstract_name(rest.as_bytes())?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

// The time is for the process that `of` names, or for any.
fn watchdog(micros: Option<&str>, of: Option<&str>, own: u32) -> Option<Duration> {
    let is_ours = of.is_none_or(|of| of.parse::<u32>().is_ok_and(|pid| pid == own));
    let micros: u64 = micros?.parse().ok()?;
    (is_ours && micros > 0).then(|| Duration::from_micros(micros))
}

fn written(event: Event, monotonic_micros: u64) -> String {
    match event {
        Event::Ready => "READY=1\nSTATUS=serving".into(),
        Event::Reloading => format!("RELOADING=1\nMONOTONIC_USEC={monotonic_micros}"),
        Event::Reloaded(Outcome::Taken) => "READY=1\nSTATUS=serving, configuration reloaded".into(),
        Event::Reloaded(Outcome::Refused) => {
            "READY=1\nSTATUS=serving by the configuration before: the changed one has mistakes, see the log".into()
        }
        Event::Stopping(drain) => {
            let most = (drain + LAST_WORDS).as_micros();
            format!("STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC={most}")
        }
        Event::Alive => "WATCHDOG=1".into(),
        Event::Succeeded(process) => {
            format!("MAINPID={process}\nREADY=1\nSTATUS=serving, by a new process")
        }
    }
}

// By the clock that the manager looks at, not by a clock of ours.
fn monotonic_micros() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000
        + u64::try_from(now.tv_nsec).unwrap_or(0) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_is_what_the_protocol_wants() {
        assert!(written(Event::Ready, 5).starts_with("READY=1\n"));
        assert_eq!(written(Event::Reloading, 5), "RELOADING=1\nMONOTONIC_USEC=5");
        assert!(written(Event::Reloaded(Outcome::Refused), 5).starts_with("READY=1\nSTATUS="));
        let stopping = written(Event::Stopping(Duration::from_secs(30)), 5);
        assert!(stopping.starts_with("STOPPING=1\n"), "{stopping}");
        assert!(stopping.ends_with("EXTEND_TIMEOUT_USEC=45000000"), "{stopping}");
        assert_eq!(written(Event::Alive, 5), "WATCHDOG=1");
        assert!(written(Event::Succeeded(77), 5).starts_with("MAINPID=77\nREADY=1\n"));
    }

    #[test]
    fn a_watchdog_is_for_the_process_that_it_names() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(watchdog(Some("1000000"), None, 7), second);
        assert_eq!(watchdog(Some("1000000"), Some("7"), 7), second);
        for (micros, of) in
            [(Some("1000000"), Some("8")), (Some("0"), None), (Some("soon"), None), (None, None)]
        {
            assert_eq!(watchdog(micros, of, 7), None, "{micros:?} {of:?}");
        }
    }

    #[test]
    fn the_monotonic_clock_goes_on() {
        let first = monotonic_micros();
        assert!(first > 0 && monotonic_micros() >= first);
    }

    #[test]
    fn a_manager_hears_by_path_and_by_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let there = UnixDatagram::bind(&path).unwrap();
        connect(path.to_str().unwrap()).unwrap().send(b"READY=1").unwrap();
        let mut heard = [0; 64];
        let length = there.recv(&mut heard).unwrap();
        assert_eq!(&heard[..length], b"READY=1");
        let name = format!("foreshore-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let there = UnixDatagram::bind_addr(&address).unwrap();
        connect(&format!("@{name}")).unwrap().send(b"STOPPING=1").unwrap();
        let length = there.recv(&mut heard).unwrap();
        assert_eq!(&heard[..length], b"STOPPING=1");
        assert!(connect("/nowhere/at/all").is_err());
    }
}

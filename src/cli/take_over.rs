//! A new process takes the place of the one that started it: what `supervisor::succession` has a
//! taker say and wait for.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::control::Control;
use crate::control::inherited::Inherited;
use crate::distribution::site::Site;
use crate::invalidation::service::Durability;
use crate::supervisor::passing::{Line, Message, PROTOCOL, Socket, is_late};
use crate::supervisor::succession::{Step, Taker};

/// How long the other may take for a step; it ends this process much earlier if it goes on itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// The process whose place this one takes.
pub(super) struct Predecessor {
    line: Line,
    taker: Taker,
    sockets: Vec<(Socket, OwnedFd)>,
    /// Locks of folders, held by both.
    pub locks: Vec<File>,
}

impl Predecessor {
    /// Finds it at the other end of the standard input.
    pub(super) fn meet() -> Result<Self, String> {
        let line = Line::from_stdin().map_err(|error| {
            format!("--take-over is for a process that another one starts: standard input: {error}")
        })?;
        Ok(Self { line, taker: Taker::default(), sockets: Vec::new(), locks: Vec::new() })
    }

    /// Says that the configuration is good; gives what the other listens on.
    pub(super) fn greet(&mut self, data: &Path) -> Result<Vec<(Socket, OwnedFd)>, String> {
        let version = env!("CARGO_PKG_VERSION").to_string();
        self.say(&Message::Hello { protocol: PROTOCOL, version, data: data.to_path_buf() })?;
        self.wait_for(Step::Sockets)?;
        Ok(std::mem::take(&mut self.sockets))
    }

    /// Waits until the data folder may be read.
    pub(super) fn wait_for_data(&mut self) -> Result<(), String> {
        self.say(&Message::Prepared)?;
        self.wait_for(Step::Yours).map(drop)
    }

    /// Waits until it may be written to; gives what the other has counted.
    pub(super) fn wait_for_leave(&mut self) -> Result<Inherited, String> {
        self.say(&Message::Opened)?;
        match self.wait_for(Step::Go)? {
            Message::Go { counts } => Ok(Inherited::read(&counts)),
            _ => Err("the process before says what makes no sense".into()),
        }
    }

    /// Says that viewers are served, and hears what the other has to say until it is gone; then
    /// `alone` is called.
    pub(super) fn serve(
        mut self,
        control: &Arc<Control>,
        alone: impl FnOnce() + Send + 'static,
    ) -> Result<(), String> {
        // First: whoever asked for this process is told at once, and may look.
        control.succession.done.fetch_add(1, Ordering::Relaxed);
        control.succession.has_predecessor.store(true, Ordering::Release);
        self.say(&Message::Serving)?;
        let control = Arc::clone(control);
        let listen = move || {
            self.hear_until_gone(&control);
            control.succession.has_predecessor.store(false, Ordering::Release);
            tracing::info!("the process before has ended");
            alone();
        };
        let listening = std::thread::Builder::new().name("process-before".into()).spawn(listen);
        listening.map(drop).map_err(|error| error.to_string())
    }

    /// Tells it why this process cannot go on.
    pub(super) fn hear_why(&self, why: &str) {
        let _ = self.line.send(&Message::Failed { why: why.to_string() }, None);
    }

    fn say(&mut self, message: &Message) -> Result<(), String> {
        if !message.step().is_some_and(|step| self.taker.does(step)) {
            return Err("a step of the hand-over out of turn".into());
        }
        let sent = self.line.send(message, None);
        sent.map_err(|error| format!("the process before is gone: {error}"))
    }

    // Descriptors come before the step that ends them.
    fn wait_for(&mut self, step: Step) -> Result<Message, String> {
        loop {
            let came = self.line.receive(Some(PATIENCE)).map_err(|error| {
                let why = if is_late(&error) { "says nothing".into() } else { error.to_string() };
                format!("the process before, which is to hand over: {why}")
            })?;
            let Some((message, descriptor)) = came else {
                return Err("the process before has gone on by itself, or ended".into());
            };
            match (message, descriptor) {
                (Message::Socket(socket), Some(descriptor)) => {
                    self.sockets.push((socket, descriptor));
                }
                (Message::Lock, Some(descriptor)) => self.locks.push(File::from(descriptor)),
                (message, _) if message.step() == Some(step) && self.taker.does(step) => {
                    return Ok(message);
                }
                _ => return Err("the process before says what makes no sense".into()),
            }
        }
    }

    fn hear_until_gone(&self, control: &Control) {
        let edge = &control.edge;
        while let Ok(Some((message, _))) = self.line.receive(None) {
            match message {
                Message::Record { record, is_synced } => {
                    let durability =
                        if is_synced { Durability::Synced } else { Durability::InForce };
                    let answer = match edge.invalidation.accept(*record, durability) {
                        Ok(record) => {
                            if let Some(passed) = &record.from {
                                edge.applied.note(passed, edge.clock.now());
                            }
                            Message::Taken { record: Box::new(record) }
                        }
                        Err(error) => Message::Refused { why: error.to_string() },
                    };
                    if self.line.send(&answer, None).is_err() {
                        return;
                    }
                }
                Message::Counts { text } => {
                    *control.succession.inherited.lock() = Inherited::read(&text);
                }
                _ => tracing::warn!("the process before says what makes no sense"),
            }
        }
    }
}

/// Says what would keep the disk store of a site from being opened, before anything is given up for
/// it.
pub(super) fn looks_usable(site: &Site) -> Result<(), String> {
    let Some(settings) = &site.store.disk else { return Ok(()) };
    let lock = settings.path.join("lock");
    let folder = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&settings.path);
    let opened =
        folder.and_then(|()| File::options().create(true).append(true).mode(0o600).open(lock));
    opened.map(drop).map_err(|error| format!("the disk store {}: {error}", settings.path.display()))
}

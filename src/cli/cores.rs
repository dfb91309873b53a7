//! The cores of an edge: a thread each, with a runtime of its own and sockets of its own; and
//! HTTP/3, which comes to them once it may.

use std::net::TcpListener;
use std::sync::Arc;
#[cfg(feature = "http3")]
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

#[cfg(feature = "http3")]
use tokio::sync::oneshot;
use tokio::sync::watch;

use super::bind::Sockets;
use crate::control::Control;
use crate::distribution::site::Site;
use crate::listen::Worker;
use crate::listen::accept::{Accepting, Bound, Speaks};
#[cfg(feature = "http3")]
use crate::listen::quic;
use crate::origin::Live;
use crate::origin::client::Client;
use crate::proxy::Proxy;
use crate::supervisor::pulse::Pulse;

/// What speaks HTTP/3 on each core, once it may.
#[cfg(feature = "http3")]
pub(super) type Quic = Vec<oneshot::Receiver<Vec<quic::Socket>>>;
#[cfg(not(feature = "http3"))]
pub(super) type Quic = ();
/// What begins once the process before has ended.
#[cfg(not(feature = "http3"))]
type Later = fn();

// The sockets of each core, and the secrets that all of them share. They come to the cores once the
// second is called.
#[cfg(feature = "http3")]
fn start_quic(
    control: &Arc<Control>,
    site: &Arc<Site>,
    udp: &mut [quic::Bound],
) -> Result<(Quic, impl FnOnce() + Send + 'static + use<>), String> {
    let (mut senders, mut receivers) = (Vec::new(), Vec::new());
    if !udp.is_empty() {
        let keys = quic::Keys::open(&site.data)
            .map_err(|error| format!("the keys of QUIC in {}: {error}", site.data.display()))?;
        let keys = Arc::new(keys);
        for _ in 0..site.listen.workers {
            let sockets: Vec<quic::Socket> =
                udp.iter_mut().filter_map(|one| one.take(&keys)).collect();
            let (sender, receiver) = oneshot::channel();
            senders.push((sender, sockets));
            receivers.push(receiver);
        }
    }
    let addresses: Vec<_> = udp.iter().map(|one| one.address).collect();
    let (control, site) = (Arc::clone(control), Arc::clone(site));
    let begin = move || {
        for address in &addresses {
            tracing::info!(%address, speaks = "HTTP/3", workers = site.listen.workers, "listening on UDP");
        }
        control.edge.speaks_quic.store(!senders.is_empty(), Ordering::Relaxed);
        for (sender, sockets) in senders {
            drop(sender.send(sockets));
        }
        control.note_alt_svc(&site);
    };
    Ok((receivers, begin))
}

/// Makes HTTP/3 ready for the cores. What is given back has it begin, where it may not yet.
#[cfg(feature = "http3")]
pub(super) fn begin_http3(
    control: &Arc<Control>,
    site: &Arc<Site>,
    sockets: &mut Sockets,
) -> Result<(Quic, Option<impl FnOnce() + Send + 'static + use<>>), String> {
    let (quic, begin) = start_quic(control, site, &mut sockets.udp)?;
    // What belongs to connections of the process before is its to read.
    if sockets.udp_is_in_use {
        return Ok((quic, Some(begin)));
    }
    begin();
    Ok((quic, None))
}

/// The same where there is none.
#[cfg(not(feature = "http3"))]
pub(super) fn begin_http3(
    control: &Arc<Control>,
    site: &Arc<Site>,
    _: &mut Sockets,
) -> Result<(Quic, Option<Later>), String> {
    control.note_alt_svc(site);
    Ok(((), None))
}

#[cfg(feature = "http3")]
fn serve_quic(control: &Arc<Control>, worker: &Arc<Worker>, sockets: Vec<quic::Socket>) {
    for socket in sockets {
        let serving = quic::Serving {
            worker: Arc::clone(worker),
            tls: Arc::clone(&control.tls),
            places: Arc::clone(&control.places),
        };
        tokio::spawn(async move {
            if let Err(error) = serving.run(socket).await {
                tracing::error!(%error, "HTTP/3 ended");
            }
        });
    }
}

/// What one core begins with.
struct Core {
    index: usize,
    control: Arc<Control>,
    listeners: Vec<(TcpListener, Speaks)>,
    #[cfg(feature = "http3")]
    udp: Option<oneshot::Receiver<Vec<quic::Socket>>>,
    /// Turns true once no connection is to be accepted any more.
    drained: watch::Receiver<bool>,
    /// Turns true once what is still under way is to be dropped.
    abandoned: watch::Receiver<bool>,
    pulse: Arc<Pulse>,
    head_bytes: usize,
}

impl Core {
    // Until it is abandoned.
    fn run(mut self) {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(64)
            .build()
        else {
            return;
        };
        let worker = self.worker();
        // Before the first viewer: an engine is not made on a request.
        worker.core.prepare_functions();
        runtime.block_on(async {
            self.accept(&worker);
            self.go_on(&worker).await;
        });
        // Exchanges end here, and each writes its record.
        runtime.shutdown_background();
        worker.flush_log();
    }

    fn worker(&self) -> Arc<Worker> {
        let edge = &self.control.edge;
        let client = Client::new(Arc::clone(&edge.origins), edge.clock.clone(), self.head_bytes);
        let core = Arc::new(Proxy {
            index: self.index,
            edge: Arc::clone(edge),
            upstream: Arc::new(Live { client }),
        });
        let (log, gauges) = (&self.control.access_log, &self.control.gauges);
        let drained = self.drained.clone();
        Worker::new(core, self.index, Arc::clone(log), Arc::clone(gauges), drained)
    }

    // Has the sockets accepted from, on the runtime of this core.
    fn accept(&mut self, worker: &Arc<Worker>) {
        for (socket, speaks) in self.listeners.drain(..) {
            let accepting = Accepting {
                worker: Arc::clone(worker),
                tls: Arc::clone(&self.control.tls),
                places: Arc::clone(&self.control.places),
            };
            tokio::spawn(async move {
                if let Err(error) = accepting.run(socket, speaks).await {
                    tracing::error!(%error, "a listener ended");
                }
            });
        }
        #[cfg(feature = "http3")]
        if let Some(udp) = self.udp.take() {
            let (control, worker) = (Arc::clone(&self.control), Arc::clone(worker));
            tokio::spawn(async move {
                if let Ok(sockets) = udp.await {
                    serve_quic(&control, &worker, sockets);
                }
            });
        }
    }

    async fn go_on(&mut self, worker: &Arc<Worker>) {
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    self.pulse.beat(self.index);
                    worker.flush_log();
                    worker.core.prepare_functions();
                }
                _ = self.abandoned.wait_for(|abandoned| *abandoned) => break,
            }
        }
    }
}

/// Starts the threads.
pub(super) fn start(
    control: &Arc<Control>,
    site: &Arc<Site>,
    bound: &mut [Bound],
    quic: Quic,
    (drained, abandoned): (&watch::Receiver<bool>, &watch::Receiver<bool>),
    pulse: &Arc<Pulse>,
) -> Result<Vec<JoinHandle<()>>, String> {
    let mut threads = Vec::new();
    #[cfg(feature = "http3")]
    let mut quic = quic;
    #[cfg(not(feature = "http3"))]
    let () = quic;
    for index in 0..site.listen.workers {
        let listeners = bound
            .iter_mut()
            .filter_map(|one| one.take().map(|socket| (socket, one.speaks)))
            .collect();
        let core = Core {
            index,
            control: Arc::clone(control),
            listeners,
            #[cfg(feature = "http3")]
            udp: quic.pop(),
            drained: drained.clone(),
            abandoned: abandoned.clone(),
            pulse: Arc::clone(pulse),
            head_bytes: site.limits.origin_head_bytes,
        };
        let thread = std::thread::Builder::new().name(format!("core-{index}"));
        threads.push(thread.spawn(move || core.run()).map_err(|error| error.to_string())?);
    }
    Ok(threads)
}

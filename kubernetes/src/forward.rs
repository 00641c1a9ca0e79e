//! Ports of the target's pod on loopback addresses of this machine, for a run from outside of the cluster.
//!
//! ```text
//!   hook ──▶ 127.0.0.1, a free port ──▶ the thread "forwards" ──▶ API server ──▶ kubelet ──▶ a port of the pod
//! ```
//!
//! The thread is of its own: a connection that keeps something held waits for nobody else's work. Nothing here waits
//! for ever: a connection that the pod does not take in time is closed, and when the API server has been silent for a
//! while all of them are, so that whoever uses one sees a connection that broke. Only this user's processes are let
//! through: the database takes them for processes of its own pod, whom many images do not ask for a password.
//!
//! # Rights
//! In the namespace: `create` and `get` on `pods/portforward` (the verb for a websocket differs between versions).

mod peer;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    io,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Pod;
use standstill_core::{Error, Result, units::show_duration};
use tokio::{
    io::copy,
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot, watch},
};
use tokio_util::task::TaskTracker;

use crate::client::{Cluster, explain};

/// How long the pod may take to take a connection.
const OPEN: Duration = Duration::from_secs(10);
/// How long a listener may take to be there: whoever asks may be letting go.
const LISTENING: Duration = Duration::from_secs(3);
/// How often the API server is asked whether it is there, while a connection goes through it.
const BEAT: Duration = Duration::from_secs(3);
/// How long it may be silent.
const SILENCE: Duration = Duration::from_secs(10);
/// How long the pod may take to be told that a connection was closed here.
const CLOSING: Duration = Duration::from_secs(2);
/// The pause after a connection could not be accepted: this process has too many files open.
const PAUSE: Duration = Duration::from_millis(200);

/// The forwarded ports of a run. Dropping it closes them and every connection through them.
pub(crate) struct Forwards {
    orders: mpsc::UnboundedSender<Order>,
    connections: TaskTracker,
    /// Whether the thread has its connection to the API server.
    ready: watch::Receiver<bool>,
}

/// A port that is wanted.
struct Order {
    pod: String,
    port: u16,
    answer: oneshot::Sender<io::Result<u16>>,
}

impl Forwards {
    /// Starts the thread, with connections to the API server of its own.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(cluster: &Cluster) -> Result<Self> {
        let (orders, wanted) = mpsc::unbounded_channel();
        let (cluster, connections) = (cluster.clone(), TaskTracker::new());
        let (begun, ready) = watch::channel(false);
        let tracked = connections.clone();
        let work = move || {
            if let Err(error) = serve(&cluster, wanted, tracked, &begun) {
                tracing::error!("{}", error.chain());
            }
        };
        let thread = std::thread::Builder::new().name("forwards".into()).spawn(work);
        thread.map(|_| Self { orders, connections, ready }).map_err(not_forwarded)
    }

    /// Whether the thread has ended, and others are needed.
    pub(crate) fn is_over(&self) -> bool {
        self.orders.is_closed()
    }

    /// Waits until the pod was told of every connection that it was closed here, so that a server ends its sessions now
    /// and not when it notices.
    pub(crate) async fn settle(&self) {
        self.connections.close();
        if tokio::time::timeout(CLOSING, self.connections.wait()).await.is_err() {
            tracing::debug!("{} forwarded connections end with this process", self.connections.len());
        }
        self.connections.reopen();
    }

    /// The port of this machine that stands for a port of a pod. It is the same for every call.
    ///
    /// # Errors
    /// When this machine has no free port. Whether the pod listens shows when the port is dialled.
    pub(crate) async fn to(&self, pod: &str, port: u16) -> Result<u16> {
        let failed = || Error::failed(format!("the port {port} of the pod {pod} cannot be forwarded"));
        // The thread bounds that: it may take as long as somebody takes to log in, and only once.
        self.ready.clone().wait_for(|ready| *ready).await.map_err(|_ended| failed())?;
        let (answer, answered) = oneshot::channel();
        self.orders.send(Order { pod: pod.to_owned(), port, answer }).map_err(|_| failed())?;
        match tokio::time::timeout(LISTENING, answered).await {
            Ok(Ok(local)) => local.map_err(|cause| failed().because(cause)),
            Ok(Err(_)) | Err(_) => Err(failed()),
        }
    }
}

fn not_forwarded(cause: io::Error) -> Error {
    Error::failed("ports of pods cannot be forwarded").because(cause)
}

/// Does what is asked for until nobody can ask any more.
fn serve(
    cluster: &Cluster,
    wanted: mpsc::UnboundedReceiver<Order>,
    connections: TaskTracker,
    begun: &watch::Sender<bool>,
) -> Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(not_forwarded)?;
    runtime.block_on(async {
        let shared = Shared { cluster: cluster.anew().await?, connections, silent: watch::Sender::new(()) };
        begun.send_replace(true);
        obey(shared, wanted).await;
        Ok(())
    })
}

/// What all connections share.
#[derive(Clone)]
struct Shared {
    cluster: Cluster,
    /// Those that are there.
    connections: TaskTracker,
    /// Told that all of them are to be closed.
    silent: watch::Sender<()>,
}

async fn obey(shared: Shared, mut wanted: mpsc::UnboundedReceiver<Order>) {
    tokio::spawn(listen_to_the_server(shared.clone()));
    let mut known: BTreeMap<(String, u16), u16> = BTreeMap::new();
    while let Some(Order { pod, port, answer }) = wanted.recv().await {
        let local = match known.entry((pod, port)) {
            Entry::Occupied(entry) => Ok(*entry.get()),
            Entry::Vacant(entry) => {
                let listening = listen(&shared, &entry.key().0, port).await;
                listening.map(|local| *entry.insert(local))
            }
        };
        // Whoever asked may have given up.
        let _ = answer.send(local);
    }
}

/// Listens for connections to a port of a pod.
async fn listen(shared: &Shared, pod: &str, port: u16) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let local = listener.local_addr()?.port();
    let (shared, pod) = (shared.clone(), pod.to_owned());
    tokio::spawn(async move {
        loop {
            let Ok((connection, from)) = listener.accept().await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            if !peer::is_ours(from, local) {
                tracing::warn!(
                    "another user of this machine tried to use the port of the pod {pod}; it was refused"
                );
                continue;
            }
            let (tracker, shared, pod) = (shared.connections.clone(), shared.clone(), pod.clone());
            tracker.spawn(async move {
                if let Err(error) = carry(&shared, &pod, port, connection).await {
                    tracing::warn!(
                        "a connection to the port {port} of the pod {pod} broke: {}",
                        error.chain()
                    );
                }
            });
        }
    });
    Ok(local)
}

/// Carries one connection until either side closes it.
async fn carry(shared: &Shared, pod: &str, port: u16, mut local: TcpStream) -> Result<()> {
    let mut silent = shared.silent.subscribe();
    let pods = shared.cluster.objects::<Pod>();
    let attempt = pods.attempt("create", Some(pod)).of("pods/portforward");
    let ports = [port];
    let mut forwarder = match tokio::time::timeout(OPEN, pods.api().portforward(pod, &ports)).await {
        Ok(opened) => opened.map_err(|cause| explain(attempt, cause))?,
        Err(_) => return Err(attempt.timed_out(OPEN)),
    };
    let (Some(remote), Some(refused)) = (forwarder.take_stream(port), forwarder.take_error(port)) else {
        return Err(Error::failed("the API server's answer has no stream for the port"));
    };
    // Only slower without it.
    let _ = local.set_nodelay(true);
    let (mut from_pod, mut to_pod) = tokio::io::split(remote);
    let (mut from_here, mut to_here) = local.split();
    // No protocol of a database closes one direction alone.
    tokio::select! {
        _ = copy(&mut from_here, &mut to_pod) => {}
        _ = copy(&mut from_pod, &mut to_here) => {}
        Some(words) = refused => {
            return Err(Error::failed(words.trim().to_owned())
                .remedy("Check that the database listens on that port of its pod, on the loopback address too."));
        }
        _ = silent.changed() => {
            forwarder.abort();
            return Err(Error::temporary(format!("the API server was silent for {}", show_duration(SILENCE))));
        }
    }
    // What was sent before this side closed is delivered, and then the end.
    drop((from_pod, to_pod));
    if tokio::time::timeout(CLOSING, forwarder.join()).await.is_err() {
        tracing::debug!("the pod {pod} was not told in time that a connection to its port {port} was closed");
    }
    Ok(())
}

/// Breaks all connections when the API server is silent: one that nobody ends would wait for it for ever.
async fn listen_to_the_server(shared: Shared) {
    let mut heard = Instant::now();
    loop {
        tokio::time::sleep(BEAT).await;
        if shared.connections.is_empty() || shared.cluster.answers(BEAT).await {
            heard = Instant::now();
        } else if heard.elapsed() > SILENCE {
            shared.silent.send_replace(());
            heard = Instant::now();
        }
    }
}

//! The gRPC service: every call checks who asks, converts, and hands over to a service.

use crate::daemon::Identity;
use crate::{attach, doctor, metrics};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use stoa_core::run::{RunSpec, TerminalSize};
use stoa_core::{Exit, Failure};
use stoa_metrics::MetricService;
use stoa_proto::failure::to_status;
use stoa_proto::stoa as pb;
use stoa_proto::stoa::stoa_server::Stoa;
use stoa_proto::{VERSION, VERSION_HEADER};
use stoa_run::{AgainRequest, Order, Runs};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::UdsConnectInfo;
use tonic::{Request, Response, Status, Streaming};

/// Messages a client may be behind before the daemon waits for it.
const BEHIND: usize = 16;

type Answer<T> = Result<Response<T>, Status>;
type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The service.
pub(crate) struct Api {
    runs: Runs,
    metrics: Arc<MetricService>,
    identity: Arc<Identity>,
}

/// The status of a failure, and a line in the log for those that are defects.
pub(crate) fn refuse(failure: Failure) -> Status {
    if failure.exit == Exit::Internal {
        tracing::error!(%failure, "a request failed");
    }
    to_status(failure)
}

/// Does blocking work on a thread made for it.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Failure::new(Exit::Internal, "a task of the daemon broke off").caused_by(&error)))
}

impl Api {
    pub(crate) fn new(runs: Runs, metrics: Arc<MetricService>, identity: Arc<Identity>) -> Self {
        Self { runs, metrics, identity }
    }

    /// Takes the request apart when it comes from the daemon's own user and speaks this protocol.
    fn admit<T>(&self, request: Request<T>) -> Result<T, Status> {
        let peer = request.extensions().get::<UdsConnectInfo>().and_then(|info| info.peer_cred);
        let uid = peer.map(|peer| peer.uid());
        if uid != Some(self.identity.uid) {
            tracing::warn!(?uid, "refused another user");
            let failure = Failure::new(Exit::NotPermitted, "this daemon serves another user")
                .cause(format!("it belongs to uid {}", self.identity.uid))
                .hint("unset STOA_HOME and XDG_RUNTIME_DIR to use a daemon of your own");
            return Err(refuse(failure));
        }
        let version = request.metadata().get(VERSION_HEADER).map(|value| value.as_bytes().to_vec());
        match version {
            Some(version) if version != VERSION.as_bytes() => {
                let failure = Failure::new(Exit::Unavailable, "client and daemon are of different versions")
                    .cause(format!("protocol {}, the daemon's is {VERSION}", String::from_utf8_lossy(&version)))
                    .hint("run `stoa daemon stop`; the next command starts the new one, and runs go on meanwhile");
                Err(refuse(failure))
            }
            _ => Ok(request.into_inner()),
        }
    }

    async fn begin(&self, first: pb::run_request::What) -> Result<(stoa_run::Subscription, bool), Failure> {
        use pb::run_request::What;
        match first {
            What::Submit(spec) => Ok((self.runs.submit(RunSpec::try_from(spec)?).await?, false)),
            What::Again(again) => {
                let request = AgainRequest {
                    run: again.run,
                    name: again.name,
                    terminal: again.terminal.map(TerminalSize::from),
                    stdin: again.stdin,
                    secrets: again.secrets.into_iter().map(Into::into).collect(),
                };
                Ok((self.runs.again(request).await?, false))
            }
            What::Attach(attach) => Ok((self.runs.attach(&attach.run, attach.from).await?, attach.quiet)),
            _ => Err(Failure::new(Exit::Internal, "the first request must start or name a run")),
        }
    }
}

#[tonic::async_trait]
impl Stoa for Api {
    type RunStream = Replies<pb::RunEvent>;
    type LogsStream = Replies<pb::Output>;
    type WatchMetricsStream = Replies<pb::MetricsReply>;

    async fn run(&self, request: Request<Streaming<pb::RunRequest>>) -> Answer<Self::RunStream> {
        let mut requests = self.admit(request)?;
        let first = requests.message().await?.and_then(|request| request.what);
        let first = first.ok_or_else(|| refuse(Failure::new(Exit::Internal, "an empty request")))?;
        let (subscription, quiet) = self.begin(first).await.map_err(refuse)?;
        let (events, replies) = mpsc::channel(BEHIND);
        if let Some(orders) = subscription.orders.clone() {
            tokio::spawn(attach::take_input(requests, orders));
        }
        let stop = self.identity.stop.subscribe();
        tokio::spawn(attach::send_events(subscription, quiet, events, stop));
        Ok(Response::new(Box::pin(ReceiverStream::new(replies))))
    }

    async fn list(&self, request: Request<pb::ListRequest>) -> Answer<pb::ListReply> {
        let request = self.admit(request)?;
        let runs = self.runs.list(request.live, request.most).await.map_err(refuse)?;
        Ok(Response::new(pb::ListReply { runs: runs.into_iter().map(Into::into).collect() }))
    }

    async fn show(&self, request: Request<pb::RunRef>) -> Answer<pb::RunRecord> {
        let request = self.admit(request)?;
        Ok(Response::new(self.runs.find(&request.run).await.map_err(refuse)?.into()))
    }

    async fn stop(&self, request: Request<pb::StopRequest>) -> Answer<pb::RunRecord> {
        let request = self.admit(request)?;
        let grace = Duration::from_millis(request.grace_ms);
        let order = if request.kill { Order::Kill } else { Order::Stop { grace } };
        Ok(Response::new(self.runs.stop(&request.run, order).await.map_err(refuse)?.into()))
    }

    async fn remove(&self, request: Request<pb::RemoveRequest>) -> Answer<pb::RemoveReply> {
        let request = self.admit(request)?;
        let dir = self.runs.find(&request.run).await.map_err(refuse)?.dir;
        let id = self.runs.remove(&request.run, request.force).await.map_err(refuse)?;
        self.metrics.forget(&dir);
        Ok(Response::new(pb::RemoveReply { id: id.into() }))
    }

    async fn logs(&self, request: Request<pb::LogsRequest>) -> Answer<Self::LogsStream> {
        let request = self.admit(request)?;
        let mut subscription = self.runs.attach(&request.run, Some(0)).await.map_err(refuse)?;
        if let Some(lines) = request.tail {
            let skipped = subscription.reader.skip_to_tail(lines);
            skipped
                .map_err(|error| refuse(Failure::new(Exit::Failed, "the output cannot be read").caused_by(&error)))?;
        }
        let (chunks, replies) = mpsc::channel(BEHIND);
        tokio::spawn(attach::send_logs(subscription, request.follow, chunks, self.identity.stop.subscribe()));
        Ok(Response::new(Box::pin(ReceiverStream::new(replies))))
    }

    async fn metrics(&self, request: Request<pb::MetricsRequest>) -> Answer<pb::MetricsReply> {
        let request = self.admit(request)?;
        let record = self.runs.find(&request.run).await.map_err(refuse)?;
        Ok(Response::new(metrics::answer(self.metrics.clone(), record, &request).await.map_err(refuse)?))
    }

    async fn watch_metrics(&self, request: Request<pb::MetricsRequest>) -> Answer<Self::WatchMetricsStream> {
        let request = self.admit(request)?;
        // A run that is not there is an answer, not an event.
        self.runs.find(&request.run).await.map_err(refuse)?;
        let (events, replies) = mpsc::channel(1);
        let stop = self.identity.stop.subscribe();
        tokio::spawn(metrics::follow(self.runs.clone(), self.metrics.clone(), request, events, stop));
        Ok(Response::new(Box::pin(ReceiverStream::new(replies))))
    }

    async fn status(&self, request: Request<pb::StatusRequest>) -> Answer<pb::DaemonStatus> {
        self.admit(request)?;
        let identity = &self.identity;
        Ok(Response::new(pb::DaemonStatus {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            home: identity.paths.home.display().to_string(),
            socket: identity.paths.socket.display().to_string(),
            started: identity.started.0,
            live_runs: u32::try_from(self.runs.live_count()).unwrap_or(u32::MAX),
            memory: resident_bytes(),
            log: identity.paths.log().display().to_string(),
        }))
    }

    async fn doctor(&self, request: Request<pb::DoctorRequest>) -> Answer<pb::DoctorReply> {
        self.admit(request)?;
        Ok(Response::new(doctor::examine(&self.runs, &self.identity).await.map_err(refuse)?))
    }

    async fn shutdown(&self, request: Request<pb::ShutdownRequest>) -> Answer<pb::ShutdownReply> {
        self.admit(request)?;
        let live_runs = u32::try_from(self.runs.live_count()).unwrap_or(u32::MAX);
        self.identity.stop.send_replace(true);
        Ok(Response::new(pb::ShutdownReply { live_runs }))
    }
}

/// Resident memory of this process, from the second field of `/proc/self/statm`.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

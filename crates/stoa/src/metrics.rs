//! Metric queries and the stream behind `stoa watch`.

use crate::api::{blocking, refuse};
use crate::attach::{stopped, stopping};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use stoa_core::Failure;
use stoa_core::metric::SeriesQuery;
use stoa_core::port::Metrics;
use stoa_core::run::RunRecord;
use stoa_metrics::{Change, MetricService};
use stoa_proto::stoa as pb;
use stoa_run::Runs;
use tokio::sync::{mpsc, watch};
use tonic::Status;

/// The most points a series may be asked for: 200,000 are 4 MB, the size of a gRPC message.
const MOST_POINTS: u32 = 100_000;
/// How often a watcher is told when it does not say.
const USUAL_RATE: u32 = 4;
/// A watcher sees the record's clock move (and its system metrics) at least this often.
const AT_LEAST_EVERY: Duration = Duration::from_secs(1);

/// Answers `Metrics`.
pub(crate) async fn answer(
    metrics: Arc<MetricService>,
    record: RunRecord,
    request: &pb::MetricsRequest,
) -> Result<pb::MetricsReply, Failure> {
    let query = SeriesQuery { names: request.names.clone(), max_points: request.max_points.min(MOST_POINTS) as usize };
    let dir = record.dir.clone();
    let (series, facts) = blocking(move || Ok((metrics.series(&dir, &query)?, metrics.facts(&dir)?))).await?;
    let folder = record.dir.join("artifacts");
    let artifacts = facts.artifacts.into_values().map(|artifact| pb::Artifact {
        path: folder.join(&artifact.name).display().to_string(),
        name: artifact.name,
        size: artifact.size,
        sha256: artifact.sha256,
    });
    Ok(pb::MetricsReply {
        run: Some(record.into()),
        series: series.into_iter().map(Into::into).collect(),
        summary: facts.summary.into_iter().map(|(name, json)| pb::SummaryValue { name, json }).collect(),
        artifacts: artifacts.collect(),
        lost: facts.lost,
    })
}

/// Answers `WatchMetrics`: at once, on every change at the asked rate, and a last time when the run has ended.
pub(crate) async fn follow(
    runs: Runs,
    metrics: Arc<MetricService>,
    request: pb::MetricsRequest,
    replies: mpsc::Sender<Result<pb::MetricsReply, Status>>,
    mut stop: watch::Receiver<bool>,
) {
    let failure = tokio::select! {
        followed = follow_until_end(&runs, &metrics, &request, &replies) => followed.err(),
        () = stopping(&mut stop) => runs.find(&request.run).await.ok().map(|record| stopped(&record, "watch")),
    };
    if let Some(failure) = failure {
        let _client_left = replies.send(Err(refuse(failure))).await;
    }
}

async fn follow_until_end(
    runs: &Runs,
    metrics: &Arc<MetricService>,
    request: &pb::MetricsRequest,
    replies: &mpsc::Sender<Result<pb::MetricsReply, Status>>,
) -> Result<(), Failure> {
    let mut record = runs.attach(&request.run, None).await?.record;
    let rate = if request.per_second == 0 { USUAL_RATE } else { request.per_second.min(60) };
    let pause = Duration::from_secs(1) / rate;
    let dir = record.borrow().dir.clone();
    let mut points = Points::watch(metrics, &dir);
    loop {
        let seen = record.borrow_and_update().clone();
        let ended = seen.state.ended();
        let reply = answer(metrics.clone(), seen, request).await?;
        if replies.send(Ok(reply)).await.is_err() || ended {
            return Ok(());
        }
        tokio::time::sleep(pause).await;
        tokio::select! {
            () = points.changed() => {}
            _ = record.changed() => {}
            () = replies.closed() => return Ok(()),
            () = tokio::time::sleep(AT_LEAST_EVERY) => {
                if points.over() {
                    // It was not followed yet: its environment was being made.
                    points = Points::watch(metrics, &dir);
                }
            }
        }
    }
}

/// The metric service's call-back as something to await.
struct Points {
    news: watch::Receiver<Change>,
    _watch: stoa_metrics::Watch,
}

impl Points {
    fn watch(metrics: &MetricService, dir: &Path) -> Self {
        let (tell, news) = watch::channel(Change::New);
        let watch = metrics.watch(dir, move |change| {
            tell.send_replace(change);
        });
        Self { news, _watch: watch }
    }

    fn over(&self) -> bool {
        *self.news.borrow() == Change::Ended
    }

    /// Waits for new points; for ever when none will come.
    async fn changed(&mut self) {
        if self.over() || self.news.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

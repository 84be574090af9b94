//! Commands about records: list, show, wait, stop, remove.

use crate::Ended;
use crate::args::{PsArgs, RmArgs, ShowArgs, StopArgs};
use crate::connect::{Client, connect};
use crate::failure::{Trouble, failed};
use crate::output::{Output, now};
use stoa_core::run::RunRecord;
use stoa_core::{Exit, Failure};
use stoa_proto::stoa as pb;
use stoa_proto::stoa::run_event::What as News;
use stoa_view::{RunDetail, RunRow, RunTable};

/// How many runs `stoa ps` lists unless asked for all.
const NEWEST: u32 = 20;
/// Columns of `stoa show` where no terminal says.
const PAGE: usize = 100;

/// Records from a reply.
pub(crate) fn records(runs: Vec<pb::RunRecord>) -> Result<Vec<RunRecord>, Failure> {
    runs.into_iter().map(RunRecord::try_from).collect()
}

/// A run by name or id.
pub(crate) async fn find(client: &mut Client, run: &str) -> Result<RunRecord, Failure> {
    let record = client.show(pb::RunRef { run: run.to_owned() }).await.map_err(failed)?;
    RunRecord::try_from(record.into_inner())
}

/// `stoa ps`.
pub(crate) async fn list(args: PsArgs, output: &Output) -> Ended {
    let most = if args.all || args.live { 0 } else { NEWEST };
    let request = pb::ListRequest { live: args.live, most };
    let runs = records(connect().await?.list(request).await.map_err(failed)?.into_inner().runs)?;
    if args.json {
        output.json(&runs)?;
    } else {
        let rows = runs.iter().map(|record| RunRow { record, metric: None }).collect();
        output.lines(&RunTable { rows }.render(output.width, now(), output.theme));
    }
    Ok(Exit::Ok.code())
}

/// `stoa show`.
pub(crate) async fn show(args: ShowArgs, output: &Output) -> Ended {
    let record = find(&mut connect().await?, &args.run).await?;
    if args.json {
        output.json(&record)?;
    } else {
        output.lines(&RunDetail { record: &record }.render(output.width.unwrap_or(PAGE), now(), output.theme));
    }
    Ok(Exit::Ok.code())
}

/// `stoa wait`.
pub(crate) async fn wait(names: Vec<String>, json: bool, output: &Output) -> Ended {
    let mut ended = Vec::new();
    for name in names {
        ended.push(wait_for(&name).await?);
    }
    if json {
        output.json(&ended)?;
    } else {
        let lines = ended.iter().map(|record| {
            let end = record.end.as_ref().map(ToString::to_string).unwrap_or_default();
            format!("{} {}: {end}\n", record.name, record.state)
        });
        output.text(&lines.collect::<String>());
    }
    let last = ended.last().and_then(|record| record.exit_code);
    Ok(last.unwrap_or(Exit::Failed.code()))
}

/// Waits for the end of a run, across daemons that come and go.
async fn wait_for(name: &str) -> Result<RunRecord, Failure> {
    let mut run = name.to_owned();
    loop {
        let (_orders, requests) = tokio::sync::mpsc::channel(1);
        let attach = pb::Attach { run: run.clone(), from: None, quiet: true };
        let first = pb::RunRequest { what: Some(pb::run_request::What::Attach(attach)) };
        let requests = tokio_stream::StreamExt::chain(
            tokio_stream::once(first),
            tokio_stream::wrappers::ReceiverStream::new(requests),
        );
        let mut events = match connect().await?.run(requests).await.map_err(Trouble::from) {
            Ok(events) => events.into_inner(),
            Err(Trouble::Broken(_)) => continue,
            Err(Trouble::Answered(failure)) => return Err(failure),
        };
        loop {
            match events.message().await.map_err(Trouble::from) {
                Ok(Some(pb::RunEvent { what: Some(News::Ended(record)) })) => return RunRecord::try_from(record),
                // The name may pass to a newer run meanwhile; the id does not.
                Ok(Some(pb::RunEvent { what: Some(News::Accepted(record)) })) => run = record.id,
                Ok(Some(_)) => {}
                Ok(None) | Err(Trouble::Broken(_)) => break,
                Err(Trouble::Answered(failure)) if failure.exit == Exit::TryAgain => break,
                Err(Trouble::Answered(failure)) => return Err(failure),
            }
        }
    }
}

/// `stoa stop`.
pub(crate) async fn stop(args: StopArgs, output: &Output) -> Ended {
    let mut client = connect().await?;
    let grace_ms = u64::try_from(args.grace.as_millis()).unwrap_or(u64::MAX);
    let mut stopped = Vec::new();
    for run in args.runs {
        let record = client.stop(pb::StopRequest { run, grace_ms, kill: args.kill }).await.map_err(failed)?;
        stopped.push(RunRecord::try_from(record.into_inner())?);
    }
    if args.json {
        output.json(&stopped)?;
    } else {
        let lines = stopped.iter().map(|record| format!("{} {}\n", record.name, record.state));
        output.text(&lines.collect::<String>());
    }
    Ok(Exit::Ok.code())
}

/// `stoa rm`.
pub(crate) async fn remove(args: RmArgs, output: &Output) -> Ended {
    let mut client = connect().await?;
    let runs = match args.ended {
        true => {
            let all = client.list(pb::ListRequest { live: false, most: 0 }).await.map_err(failed)?;
            let ended = records(all.into_inner().runs)?.into_iter().filter(|record| record.state.ended());
            ended.map(|record| record.id.to_string()).collect()
        }
        false => args.runs,
    };
    let mut removed = Vec::new();
    for run in runs {
        removed
            .push(client.remove(pb::RemoveRequest { run, force: args.force }).await.map_err(failed)?.into_inner().id);
    }
    if args.json {
        output.json(&removed)?;
    } else {
        output.text(&removed.iter().map(|id| format!("{id}\n")).collect::<String>());
    }
    Ok(Exit::Ok.code())
}

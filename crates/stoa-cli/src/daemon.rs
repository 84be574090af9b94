//! `stoa daemon start | stop | status`.

use crate::Ended;
use crate::args::DaemonCommand;
use crate::connect::{self, connect};
use crate::failure::failed;
use crate::output::{Output, now};
use serde::Serialize;
use stoa_core::run::UnixNanos;
use stoa_core::units::Bytes;
use stoa_core::{Exit, Failure};
use stoa_proto::stoa as pb;

/// A daemon as JSON. `pid` is absent when none runs.
#[derive(Serialize)]
struct Status {
    running: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    version: String,
    home: String,
    socket: String,
    log: String,
    started: u64,
    live_runs: u32,
    memory: u64,
}

impl Status {
    fn of(status: pb::DaemonStatus) -> Self {
        Self {
            running: true,
            pid: Some(status.pid),
            version: status.version,
            home: status.home,
            socket: status.socket,
            log: status.log,
            started: status.started,
            live_runs: status.live_runs,
            memory: status.memory,
        }
    }

    fn stopped() -> Self {
        let paths = connect::paths();
        Self {
            running: false,
            pid: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            home: paths.home.display().to_string(),
            socket: paths.socket.display().to_string(),
            log: paths.log().display().to_string(),
            started: 0,
            live_runs: 0,
            memory: 0,
        }
    }
}

pub(crate) async fn command(command: DaemonCommand, output: &Output) -> Ended {
    match command {
        DaemonCommand::Start { json } => {
            let status = ask(&mut connect().await?).await?;
            show(&status, json, output)?;
            Ok(Exit::Ok.code())
        }
        DaemonCommand::Status { json } => {
            let status = match connect::connect_if_running().await? {
                Some(mut client) => ask(&mut client).await?,
                None => Status::stopped(),
            };
            show(&status, json, output)?;
            Ok(if status.running { Exit::Ok.code() } else { Exit::Failed.code() })
        }
        DaemonCommand::Stop { json } => stop(json, output).await,
    }
}

async fn ask(client: &mut connect::Client) -> Result<Status, Failure> {
    Ok(Status::of(client.status(pb::StatusRequest {}).await.map_err(failed)?.into_inner()))
}

async fn stop(json: bool, output: &Output) -> Ended {
    if let Some(mut client) = connect::connect_if_running().await? {
        let daemon = connect::watch_end(client.status(pb::StatusRequest {}).await.map_err(failed)?.into_inner().pid)?;
        let live = client.shutdown(pb::ShutdownRequest {}).await.map_err(failed)?.into_inner().live_runs;
        drop(client);
        if let Some(daemon) = daemon {
            connect::wait_for_end(daemon).await?;
        }
        if live > 0 {
            output.note(&format!("{live} runs go on; the next command starts the daemon again"));
        }
    }
    show(&Status::stopped(), json, output)?;
    Ok(Exit::Ok.code())
}

fn show(status: &Status, json: bool, output: &Output) -> Result<(), Failure> {
    if json {
        return output.json(status);
    }
    let text = match status.pid {
        Some(pid) => format!(
            "running   pid {pid}, since {}, {} live runs, {}\nhome      {}\nsocket    {}\nlog       {}\n",
            now().date_time(UnixNanos(status.started)),
            status.live_runs,
            Bytes(status.memory),
            status.home,
            status.socket,
            status.log
        ),
        None => format!("stopped\nhome      {}\n", status.home),
    };
    output.text(&text);
    Ok(())
}

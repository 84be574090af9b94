//! Runs that are live: system samples, TensorBoard files, news for watchers, and a daemon that comes back.

#[cfg(test)]
mod common;
#[cfg(test)]
mod events;

use common::{LIMIT, Run, all, plain, wait_until};
use events::{end, event, event_file, holder};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;
use stoa_core::port::{LiveRun, Metrics};
use stoa_metrics::{Change, MetricService};

#[test]
fn watchers_hear_of_new_points_and_of_the_end() {
    let run = Run::new();
    let script = r#"
import sys, stoa
stoa.log({"loss": 1}, step=0); print(flush=True); sys.stdin.readline()
stoa.log({"loss": 2}, step=1); print(flush=True); sys.stdin.readline()
"#;
    let Some(mut command) = run.script(script) else { return };
    let service = MetricService::new();
    service.started(run.live());
    let news = service.subscribe(run.path());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(news.wait(LIMIT), Some(Change::New));
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"\n").unwrap();
    wait_until(&service, run.path(), |service| all(service, run.path())[0].points.len() == 2);
    drop(input);
    child.wait().unwrap();
    service.ended(&run.live().id);
    let limit = Instant::now() + LIMIT;
    while news.wait(LIMIT) != Some(Change::Ended) {
        assert!(Instant::now() < limit);
    }
    assert_eq!(service.subscribe(run.path()).wait(LIMIT), Some(Change::Ended), "it is not live any more");
}

#[test]
fn a_live_run_is_sampled_and_a_short_one_is_not() {
    let (run, short) = (Run::new(), Run::new());
    let busy = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
    let service = MetricService::new();
    let live = LiveRun { init_pid: Some(busy.id() as i32), ..run.live() };
    service.started(LiveRun { id: "r-00000001".parse().unwrap(), ..short.live() });
    service.ended(&"r-00000001".parse().unwrap());
    service.started(live.clone());
    wait_until(&service, run.path(), |service| {
        all(service, run.path()).iter().any(|series| series.summary.name == "system/cpu" && series.points.len() >= 2)
    });
    service.ended(&live.id);
    end(busy);
    let found = all(&service, run.path());
    let names: Vec<&str> = found.iter().map(|series| series.summary.name.as_str()).collect();
    assert!(["system/cpu", "system/memory", "system/read", "system/write"].iter().all(|name| names.contains(name)));
    let cpu = &found.iter().find(|series| series.summary.name == "system/cpu").unwrap().points[1];
    assert!((0.05..1.5).contains(&cpu.value), "a loop in one thread takes up to one core: {cpu:?}");
    assert!(service.peak_memory(run.path()).unwrap().0 > 10_000);
    assert!(short.files().is_empty());
}

#[test]
fn event_files_are_followed_while_they_grow_and_after_they_are_deleted() {
    let (run, project) = (Run::new(), tempfile::tempdir().unwrap());
    let path = event_file(project.path(), "logs/PPO_1");
    let mut file = std::fs::File::options().append(true).create(true).open(&path).unwrap();
    let (first, second) = (event(1, "rollout/reward", 0.5), event(2, "rollout/reward", f32::NAN));
    file.write_all(&first).unwrap();
    file.write_all(&second[..20]).unwrap();
    let process = holder(&path);
    let live = LiveRun { init_pid: Some(process.id() as i32), ..run.live() };
    let service = MetricService::new();
    service.started(live.clone());
    let points = |service: &MetricService| {
        let found = all(service, run.path());
        found
            .into_iter()
            .find(|series| series.summary.name == "rollout/reward")
            .map_or(Vec::new(), |series| series.points)
    };
    wait_until(&service, run.path(), |service| points(service).len() == 1);
    std::fs::remove_file(&path).unwrap();
    file.write_all(&second[20..]).unwrap();
    wait_until(&service, run.path(), |service| points(service).len() == 2);

    // The daemon comes back: it goes on where it was, through the process that still has the deleted file open.
    drop(service);
    file.write_all(&event(3, "rollout/reward", 1.5)).unwrap();
    let service = MetricService::new();
    service.started(live.clone());
    wait_until(&service, run.path(), |service| points(service).len() == 3);
    end(process);
    service.ended(&live.id);
    let found = points(&service);
    assert_eq!(found.iter().map(|point| point.step).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(found[1].value.is_nan() && found[2].value == 1.5);
}

#[test]
fn event_files_that_no_process_holds_open_are_found_and_told_apart_by_folder() {
    let (run, project) = (Run::new(), tempfile::tempdir().unwrap());
    let live = LiveRun { project: Some(project.path().to_owned()), ..run.live() };
    let service = MetricService::new();
    service.started(live.clone());
    let watched = service.subscribe(run.path());
    for (folder, tag, value) in
        [("logs/train", "loss", 1.0), ("logs/validation", "loss", 2.0), ("logs/train", "only/here", 3.0)]
    {
        let path = event_file(project.path(), folder);
        std::fs::File::options()
            .append(true)
            .create(true)
            .open(path)
            .unwrap()
            .write_all(&event(7, tag, value))
            .unwrap();
    }
    std::fs::write(project.path().join("events.out.tfevents.1500000000.old.1.0"), event(1, "old", 1.0)).unwrap();
    service.ended(&live.id);
    while watched.wait(LIMIT) != Some(Change::Ended) {}
    let found = plain(&all(&service, run.path()));
    let wanted = [("only/here", 3.0), ("train/loss", 1.0), ("validation/loss", 2.0)];
    assert_eq!(found, wanted.map(|(name, value)| (name.to_owned(), vec![(7, value)])));
}

#[test]
fn a_run_does_not_take_the_event_files_of_another_in_the_same_project() {
    let (one, two, project) = (Run::new(), Run::new(), tempfile::tempdir().unwrap());
    let path = event_file(project.path(), "logs");
    std::fs::write(&path, event(1, "loss", 1.0)).unwrap();
    let process = holder(&path);
    let project = Some(project.path().to_owned());
    let service = MetricService::new();
    let first = LiveRun { init_pid: Some(process.id() as i32), project: project.clone(), ..one.live() };
    let second = LiveRun { id: "r-00000002".parse().unwrap(), project, ..two.live() };
    service.started(first.clone());
    wait_until(&service, one.path(), |service| {
        all(service, one.path()).iter().any(|found| found.summary.name == "loss")
    });
    service.started(second.clone());
    let news = service.subscribe(two.path());
    service.ended(&second.id);
    while news.wait(LIMIT) != Some(Change::Ended) {}
    end(process);
    assert!(all(&service, two.path()).is_empty());
}

#[test]
fn event_files_in_a_private_tmp_are_found() {
    let run = Run::new();
    let made = event_file(run.path(), "made");
    std::fs::write(&made, event(1, "private", 1.0)).unwrap();
    let source = run.path().join("source");
    std::fs::rename(&made, &source).unwrap();
    // The copy is closed again, so that only a walk can find it.
    let script = format!(
        "mount -t tmpfs tmpfs /mnt && cp {source} /mnt/ && mount --move /mnt /tmp && \
         mkdir /tmp/logs && mv /tmp/source /tmp/logs/events.out.tfevents.4000000000.host.1.0 && exec sleep 600",
        source = source.display()
    );
    let Ok(process) = Command::new("unshare").args(["-m", "sh", "-c", &script]).stderr(Stdio::null()).spawn() else {
        eprintln!("skipped: there is no `unshare` on this machine");
        return;
    };
    let mut process = process;
    let service = MetricService::new();
    let live = LiveRun { init_pid: Some(process.id() as i32), ..run.live() };
    service.started(live.clone());
    let mut refused = false;
    wait_until(&service, run.path(), |service| {
        refused = process.try_wait().unwrap().is_some();
        refused || all(service, run.path()).iter().any(|series| series.summary.name == "private")
    });
    if refused {
        eprintln!("skipped: a private mount cannot be made here");
        return;
    }
    end(process);
    service.ended(&live.id);
}

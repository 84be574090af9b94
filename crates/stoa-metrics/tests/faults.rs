//! Damaged, cut, growing and hostile metric files.

#[cfg(test)]
mod common;

use common::{Run, all, plain};
use std::io::Write;
use stoa_core::metric::{Origin, SeriesQuery};
use stoa_core::port::Metrics;
use stoa_metrics::MetricService;
use stoa_metrics::format::{Header, encode_name, encode_point, encode_points};

fn header() -> Vec<u8> {
    Header { origin: Origin::Script, pid: 1, created: 1 }.encode().to_vec()
}

/// A file of one series `loss` with so many points: step, value and time are the point's number.
fn file(points: u64) -> Vec<u8> {
    let mut bytes = header();
    encode_name(&mut bytes, 0, 1, "", "loss");
    (0..points).for_each(|n| encode_point(&mut bytes, 0, n, n as i64, n as f64));
    bytes
}

fn steps(run: &Run) -> Vec<i64> {
    run.series().iter().flat_map(|series| series.points.iter().map(|point| point.step)).collect()
}

/// Where the points start.
fn first_point() -> usize {
    file(0).len()
}

#[test]
fn a_torn_point_costs_itself_only() {
    for damage in [1, 8, 31, 33, 100] {
        let run = Run::new();
        let mut bytes = file(100);
        let at = first_point() + 32 * 50;
        bytes[at..at + damage].fill(0xa5);
        run.write("a.stm", &bytes);
        let found = steps(&run);
        let gone = 50..50 + damage.div_ceil(32) as i64;
        assert_eq!(found, (0..100).filter(|step| !gone.contains(step)).collect::<Vec<i64>>(), "{damage} bytes");
        assert_eq!(MetricService::new().facts(run.path()).unwrap().damaged, 32 * gone.count() as u64);
    }
}

#[test]
fn a_page_that_was_lost_costs_its_points_only() {
    let run = Run::new();
    let mut bytes = file(1000);
    bytes[4096..8192].fill(0);
    bytes.extend([0; 60_000]);
    run.write("a.stm", &bytes);
    let found = steps(&run);
    assert!(found.len() >= 1000 - 4096 / 32 - 2 && found.last() == Some(&999), "{}", found.len());
}

#[test]
fn a_lost_header_or_name_costs_no_point() {
    let run = Run::new();
    let mut bytes = file(10);
    bytes[..first_point()].fill(7);
    run.write("a.stm", &bytes);
    let found = plain(&run.series());
    assert_eq!((found[0].0.as_str(), found[0].1.len()), ("unnamed/a/0", 10));
}

#[test]
fn garbage_at_the_end_and_files_of_any_kind_are_passed_over() {
    let run = Run::new();
    let mut bytes = file(10);
    bytes.extend((0..10_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()));
    run.write("a.stm", &bytes);
    run.write("empty.stm", b"");
    run.write("short.stm", &header()[..20]);
    run.write("zeros.stm", &[0; 100_000]);
    run.write(
        "text.stm",
        b"not a metric file at all, yet longer than the header of one would have to be; and some more",
    );
    std::fs::create_dir(run.path().join("metrics/folder.stm")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", run.path().join("metrics/link.stm")).unwrap();
    assert_eq!(steps(&run), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_file_larger_than_any_disk_costs_no_time() {
    let run = Run::new();
    run.write("a.stm", &file(10));
    let large = std::fs::File::options().write(true).open(&run.files()[0]).unwrap();
    large.set_len(1 << 42).unwrap();
    assert_eq!(steps(&run), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_file_of_a_later_version_is_counted_and_not_misread() {
    let run = Run::new();
    let mut bytes = file(10);
    bytes[8] = 9;
    let crc = crc32fast::hash(&bytes[..60]).to_le_bytes();
    bytes[60..64].copy_from_slice(&crc);
    run.write("a.stm", &bytes);
    let service = MetricService::new();
    assert!(all(&service, run.path()).is_empty());
    assert_eq!(service.facts(run.path()).unwrap().unreadable_files, 1);
}

#[test]
fn a_file_cut_anywhere_and_continued_gives_each_point_once() {
    let whole = file(40);
    for cut in (0..whole.len()).step_by(13) {
        let run = Run::new();
        let service = MetricService::new();
        service.started(run.live());
        run.write("a.stm", &whole[..cut]);
        let before = all(&service, run.path()).first().map_or(0, |series| series.points.len());
        assert_eq!(before, cut.saturating_sub(first_point()) / 32, "cut at {cut}");
        run.write("a.stm", &whole);
        assert_eq!(all(&service, run.path())[0].points.len(), 40, "cut at {cut}");
    }
}

#[test]
fn a_file_that_shrinks_loses_nothing_that_was_read() {
    let run = Run::new();
    let service = MetricService::new();
    run.write("a.stm", &file(100));
    assert_eq!(all(&service, run.path())[0].points.len(), 100);
    run.write("a.stm", &file(10));
    assert_eq!(all(&service, run.path())[0].points.len(), 100);
    std::fs::remove_file(&run.files()[0]).unwrap();
    assert_eq!(all(&service, run.path())[0].points.len(), 100);
}

#[test]
fn several_files_are_one_series_in_the_order_of_steps() {
    let run = Run::new();
    for (name, first) in [("a.stm", 1), ("b.stm", 0)] {
        let mut bytes = header();
        encode_name(&mut bytes, 0, 1, "", "loss");
        (first..100).step_by(2).for_each(|n| encode_point(&mut bytes, 0, 5, n, 0.0));
        run.write(name, &bytes);
    }
    assert_eq!(steps(&run), (0..100).collect::<Vec<_>>());
}

#[test]
fn a_clock_set_back_keeps_the_order_of_steps() {
    let run = Run::new();
    let mut bytes = header();
    encode_name(&mut bytes, 0, 1, "", "loss");
    (0..10).for_each(|n| encode_point(&mut bytes, 0, 1000 - n as u64, n, 0.0));
    run.write("a.stm", &bytes);
    assert_eq!(steps(&run), (0..10).collect::<Vec<_>>());
    assert_eq!(run.series()[0].summary.last.unwrap().step, 9);
}

#[test]
fn names_are_kept_as_they_are_and_long_ones_cut() {
    let run = Run::new();
    let names = ["../../etc/passwd", "\u{1b}[2J", "", "a\nb", "loss 损失 🙂", &"x".repeat(5000)];
    let mut bytes = header();
    for (id, name) in (0..).zip(names) {
        encode_name(&mut bytes, id, 1, "", name);
        encode_point(&mut bytes, id, 1, 1, 1.0);
    }
    // Ids that would need a table of gigabytes.
    encode_point(&mut bytes, (1 << 24) - 1, 1, 1, 1.0);
    run.write("a.stm", &bytes);
    let service = MetricService::new();
    let found = all(&service, run.path());
    assert_eq!(found.len(), 6);
    assert!(found.iter().any(|series| series.summary.name.len() == 1024));
    assert_eq!(service.facts(run.path()).unwrap().lost, 1);
}

#[test]
fn questions_choose_series_by_name_and_prefix_and_bound_their_points() {
    let run = Run::new();
    let mut bytes = header();
    for (id, name) in (0..).zip(["train/loss", "train/lr", "trainer", "eval/loss"]) {
        encode_name(&mut bytes, id, 1, "", name);
    }
    for step in 0..50_000 {
        let value = if step == 33_333 { f64::NAN } else { f64::from(step % 1000) };
        encode_points(&mut bytes, step as u64, i64::from(step), &[(0, value), (1, 1.0), (2, 2.0), (3, 3.0)]);
    }
    run.write("a.stm", &bytes);
    let service = MetricService::new();
    let ask = |names: &[&str], max_points| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        service.series(run.path(), &SeriesQuery { names, max_points }).unwrap()
    };
    let names = |found: &[stoa_core::metric::Series]| -> Vec<String> {
        found.iter().map(|series| series.summary.name.clone()).collect()
    };
    assert_eq!(names(&ask(&["train/"], 10)), ["train/loss", "train/lr"]);
    assert_eq!(names(&ask(&["trainer", "eval/loss"], 10)), ["eval/loss", "trainer"]);
    let few = &ask(&["train/loss"], 100)[0];
    assert!(few.points.len() <= 100 && few.points.iter().any(|point| point.value.is_nan()));
    assert_eq!(
        (few.summary.count, few.summary.non_finite, few.summary.min, few.summary.max),
        (50_000, 1, Some(0.0), Some(999.0))
    );
    assert!(ask(&[], 0).iter().all(|series| series.points.is_empty() && series.summary.count == 50_000));
    // More than memory holds: read from the file again.
    let every = &ask(&["train/loss"], 60_000)[0];
    assert!(every.points.iter().enumerate().all(|(n, point)| point.step == n as i64) && every.points.len() == 50_000);
}

#[test]
fn a_run_without_metrics_has_none_and_an_unreadable_one_says_why() {
    let run = Run::new();
    assert!(run.series().is_empty());
    std::fs::remove_dir(run.path().join("metrics")).unwrap();
    assert!(run.series().is_empty());
    std::fs::File::create(run.path().join("metrics")).unwrap().write_all(b"x").unwrap();
    let failure = MetricService::new().summaries(run.path()).unwrap_err();
    assert!(failure.error.contains("cannot read the metrics") && failure.hint.is_some(), "{failure}");
}

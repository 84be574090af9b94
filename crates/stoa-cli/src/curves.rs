//! `stoa plot` and `stoa metrics`.

use crate::Ended;
use crate::args::{MetricsArgs, PlotArgs};
use crate::connect::connect;
use crate::failure::failed;
use crate::output::Output;
use crate::terminal;
use std::path::Path;
use stoa_core::metric::{Origin, Series};
use stoa_core::run::RunRecord;
use stoa_core::{Exit, Failure};
use stoa_proto::stoa as pb;
use stoa_view::{Cell, Column, Plot, Style, SvgOptions, Table, Tint, XAxis, show_number, sparkline};

/// Points asked for per series: more than a picture has columns.
const POINTS: u32 = 2000;
/// Curves drawn when none are named.
const MAIN_CURVES: usize = 4;
/// Lines of a plot.
const PLOT_HEIGHT: usize = 16;
/// Columns where no terminal says.
const PLOT_WIDTH: usize = 80;
/// Columns of a curve in the list of metrics.
const SPARK: usize = 20;

/// A run with its series.
pub(crate) struct Curves {
    pub(crate) record: RunRecord,
    pub(crate) series: Vec<Series>,
    pub(crate) reply: pb::MetricsReply,
}

impl TryFrom<pb::MetricsReply> for Curves {
    type Error = Failure;
    fn try_from(mut reply: pb::MetricsReply) -> Result<Self, Failure> {
        let record = reply.run.take().ok_or_else(|| Failure::new(Exit::Internal, "an answer without its run"))?;
        let series = std::mem::take(&mut reply.series).into_iter().map(Series::try_from).collect::<Result<_, _>>()?;
        Ok(Self { record: RunRecord::try_from(record)?, series, reply })
    }
}

async fn ask(run: String, names: Vec<String>, max_points: u32) -> Result<Curves, Failure> {
    let request = pb::MetricsRequest { run, names, max_points, per_second: 0 };
    connect().await?.metrics(request).await.map_err(failed)?.into_inner().try_into()
}

/// `stoa plot`.
pub(crate) async fn plot(args: PlotArgs, output: &Output) -> Ended {
    let named = !args.metrics.is_empty();
    let curves = ask(args.run.clone(), args.metrics.clone(), POINTS).await?;
    let drawn = chosen(&curves, &args)?;
    if args.json {
        output.text(&format!("{}\n", stoa_view::series_to_json(&drawn)));
        return Ok(Exit::Ok.code());
    }
    let rows = usize::from(terminal::size().rows);
    let width = args.width.map_or(output.width.unwrap_or(PLOT_WIDTH), |width| width as usize);
    let height = args.height.map_or(PLOT_HEIGHT.min(rows.max(8)), |height| height as usize);
    let groups: Vec<Vec<&Series>> =
        if named { vec![drawn.iter().collect()] } else { drawn.iter().map(|series| vec![series]).collect() };
    let size = (width, height);
    match &args.svg {
        Some(file) => {
            let all: Vec<&Series> = if named { drawn.iter().collect() } else { drawn.iter().take(1).collect() };
            let usual = SvgOptions::default();
            let width = args.width.unwrap_or(usual.width);
            let options = SvgOptions { width, height: args.height.unwrap_or(usual.height), ..usual };
            write(file, &figure(all, size, &args, &curves.record, output).to_svg(options))?;
            output.note(&format!("wrote {}", file.display()));
        }
        None => {
            for (number, group) in groups.into_iter().enumerate() {
                if number > 0 {
                    output.text("\n");
                }
                output.lines(&figure(group, size, &args, &curves.record, output).render());
            }
        }
    }
    Ok(Exit::Ok.code())
}

/// Curves on common axes, as the command line wants them.
fn figure<'a>(
    series: Vec<&'a Series>,
    (width, height): (usize, usize),
    args: &PlotArgs,
    record: &RunRecord,
    output: &Output,
) -> Plot<'a> {
    let names: Vec<&str> = series.iter().map(|series| series.summary.name.as_str()).collect();
    let title = format!("{}: {}", record.name, names.join(", "));
    let mut plot = Plot::new(series, width, height, output.theme);
    plot.x = if args.time { XAxis::Time } else { XAxis::Step };
    plot.log_y = args.log;
    plot.smoothing = args.smooth;
    plot.title = title;
    plot
}

/// What is drawn: what was named, else the main curves of the script, else the system's.
fn chosen(curves: &Curves, args: &PlotArgs) -> Result<Vec<Series>, Failure> {
    let run = &curves.record.name;
    if curves.series.is_empty() {
        let failure = match args.metrics.is_empty() {
            true => Failure::new(Exit::Failed, format!("{run} has no metrics"))
                .hint("log some in the script: `import stoa; stoa.log({\"loss\": loss}, step=step)`"),
            false => Failure::new(Exit::Failed, format!("{run} has no metric `{}`", args.metrics.join("`, `")))
                .hint(format!("`stoa metrics {run}` lists what it has")),
        };
        return Err(failure);
    }
    if !args.metrics.is_empty() {
        return Ok(curves.series.clone());
    }
    let mut own: Vec<Series> =
        curves.series.iter().filter(|series| series.summary.origin != Origin::System).cloned().collect();
    own.sort_by_cached_key(stoa_view::importance);
    own.truncate(MAIN_CURVES);
    Ok(if own.is_empty() { curves.series.clone() } else { own })
}

fn write(file: &Path, content: &str) -> Result<(), Failure> {
    std::fs::write(file, content)
        .map_err(|error| Failure::new(Exit::Usage, format!("cannot write {}", file.display())).caused_by(&error))
}

/// `stoa metrics`.
pub(crate) async fn metrics(args: MetricsArgs, output: &Output) -> Ended {
    let points = if args.json { args.points } else { POINTS };
    let curves = ask(args.run.clone(), args.metrics.clone(), points).await?;
    if args.json {
        output.text(&json(&curves)?);
        return Ok(Exit::Ok.code());
    }
    if curves.series.is_empty() && curves.reply.summary.is_empty() {
        output.note(&format!("{} has no metrics", curves.record.name));
        return Ok(Exit::Ok.code());
    }
    output.lines(&table(&curves, output).render(output.width, output.theme));
    for value in &curves.reply.summary {
        output.text(&format!("{} = {}\n", stoa_view::sanitize(&value.name), stoa_view::sanitize(&value.json)));
    }
    for artifact in &curves.reply.artifacts {
        output.text(&format!("{}  {}\n", stoa_core::units::Bytes(artifact.size), stoa_view::sanitize(&artifact.path)));
    }
    if curves.reply.lost > 0 {
        output.note(&format!("{} points could not be kept: the disk was full", curves.reply.lost));
    }
    Ok(Exit::Ok.code())
}

fn table(curves: &Curves, output: &Output) -> Table {
    let mut table = Table::new(vec![
        Column::elastic("METRIC"),
        Column::right("POINTS"),
        Column::right("LAST"),
        Column::right("MIN"),
        Column::right("MAX"),
        Column::left("CURVE"),
    ]);
    for series in &curves.series {
        let summary = &series.summary;
        let number = |value: Option<f64>| Cell::plain(value.map_or_else(|| "-".to_owned(), show_number));
        table.row(vec![
            Cell::new(&summary.name, Style::tint(Tint::Accent)),
            Cell::plain(summary.count.to_string()),
            number(summary.last.map(|point| point.value)),
            number(summary.min),
            number(summary.max),
            Cell::plain(sparkline(&series.points, SPARK, output.theme)),
        ]);
    }
    table
}

/// The series with the run, its summary and its artifacts. Values that are not finite are strings, as in `series_to_json`.
fn json(curves: &Curves) -> Result<String, Failure> {
    let bad = |error: serde_json::Error| {
        Failure::new(Exit::Internal, "the answer cannot be written as JSON").caused_by(&error)
    };
    let series: serde_json::Value = serde_json::from_str(&stoa_view::series_to_json(&curves.series)).map_err(bad)?;
    let summary = curves.reply.summary.iter().map(|value| {
        let json = serde_json::from_str(&value.json).unwrap_or_else(|_| serde_json::Value::String(value.json.clone()));
        (value.name.clone(), json)
    });
    let artifacts = curves.reply.artifacts.iter().map(|artifact| {
        serde_json::json!({
            "name": artifact.name, "path": artifact.path, "size": artifact.size, "sha256": artifact.sha256,
        })
    });
    let answer = serde_json::json!({
        "run": curves.record.id.as_str(),
        "name": curves.record.name,
        "series": series,
        "summary": summary.collect::<serde_json::Map<_, _>>(),
        "artifacts": artifacts.collect::<Vec<_>>(),
        "lost": curves.reply.lost,
    });
    Ok(format!("{}\n", serde_json::to_string_pretty(&answer).map_err(bad)?))
}

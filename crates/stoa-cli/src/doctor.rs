//! `stoa doctor`: what this machine is, what it lacks, and which isolation is in force.

use crate::Ended;
use crate::connect::connect;
use crate::failure::failed;
use crate::output::Output;
use serde::Serialize;
use stoa_core::run::{Enforcement, Host, Mechanism};
use stoa_core::units::Bytes;
use stoa_core::{Exit, Failure};
use stoa_proto::stoa as pb;
use stoa_view::{Cell, Column, Line, Style, Table, Tint};

/// The answer as JSON.
#[derive(Serialize)]
struct Report {
    host: Host,
    requirements: Vec<Requirement>,
    mechanisms: Vec<Mechanism>,
    facts: Vec<String>,
}

#[derive(Serialize)]
struct Requirement {
    name: String,
    have: String,
    minimum: String,
    recommended: String,
    verdict: String,
}

/// Prints the report. Ends with 1 when a mechanism is not available.
pub(crate) async fn examine(json: bool, output: &Output) -> Ended {
    let reply = connect().await?.doctor(pb::DoctorRequest {}).await.map_err(failed)?.into_inner();
    let report = Report {
        host: reply.host.unwrap_or_default().into(),
        requirements: reply.requirements.into_iter().map(Requirement::from).collect(),
        mechanisms: reply.mechanisms.into_iter().map(Mechanism::try_from).collect::<Result<_, Failure>>()?,
        facts: reply.facts,
    };
    let missing = report.mechanisms.iter().any(|mechanism| mechanism.enforcement == Enforcement::Degraded);
    if json {
        output.json(&report)?;
    } else {
        show(&report, output);
    }
    Ok(if missing { Exit::Failed.code() } else { Exit::Ok.code() })
}

impl From<pb::Requirement> for Requirement {
    fn from(requirement: pb::Requirement) -> Self {
        Self {
            name: requirement.name,
            have: requirement.have,
            minimum: requirement.minimum,
            recommended: requirement.recommended,
            verdict: requirement.verdict,
        }
    }
}

fn show(report: &Report, output: &Output) {
    let host = &report.host;
    let mut lines = vec![heading("Machine")];
    lines.push(plain(&format!("  {} · {} · Linux {}", host.name, host.system, host.kernel), output));
    lines.push(plain(&format!("  {} · {} CPUs · {} memory", host.cpu, host.cpus, Bytes(host.memory.0)), output));
    lines.extend(report.facts.iter().map(|fact| plain(&format!("  {fact}"), output)));
    output.lines(&lines);

    output.lines(&[Line::new(), heading("Requirements")]);
    let mut table = Table::new(["", "HAVE", "MINIMUM", "RECOMMENDED", ""].map(Column::left).into());
    for requirement in &report.requirements {
        let tint = if requirement.verdict.starts_with("below") { Tint::Warning } else { Tint::Good };
        table.row(vec![
            Cell::plain(format!("  {}", requirement.name)),
            Cell::plain(&requirement.have),
            Cell::plain(&requirement.minimum),
            Cell::plain(&requirement.recommended),
            Cell::new(&requirement.verdict, Style::tint(tint)),
        ]);
    }
    output.lines(&table.render(output.width, output.theme));

    output.lines(&[Line::new(), heading("Isolation")]);
    let mut table = Table::new(vec![Column::left(""), Column::left("IN FORCE"), Column::elastic("HOW")]);
    for mechanism in &report.mechanisms {
        let (word, tint) = match mechanism.enforcement {
            Enforcement::InForce => ("yes", Tint::Good),
            Enforcement::NotAsked => ("not asked", Tint::Muted),
            Enforcement::Degraded => ("no", Tint::Bad),
        };
        table.row(vec![
            Cell::plain(format!("  {}", mechanism.name)),
            Cell::new(word, Style::tint(tint)),
            Cell::plain(&mechanism.detail),
        ]);
    }
    output.lines(&table.render(output.width, output.theme));
}

fn heading(text: &str) -> Line {
    Line::of(text, Style::tint(Tint::Accent))
}

fn plain(text: &str, output: &Output) -> Line {
    let text = stoa_view::sanitize(text);
    Line::of(if output.theme.unicode { text } else { text.replace('·', "-") }, Style::PLAIN)
}

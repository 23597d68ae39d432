//! What a scenario found, and how it is told: served of what was possible, errors, waste, and each bar.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use crate::caller::Answer;
use crate::rig::Rig;

/// What a scenario found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Requests that were served.
    pub(crate) served: usize,
    /// Requests that could be served at best.
    pub(crate) most: usize,
    /// What callers saw instead, by kind.
    pub(crate) errors: BTreeMap<String, usize>,
    /// Attempts upstream that an earlier answer could have spared.
    pub(crate) wasted: usize,
    bars: Vec<(bool, String)>,
    log: String,
}

impl Report {
    /// Counts `answers`, of which `most` could be served at best.
    pub(crate) fn of<'a>(most: usize, answers: impl IntoIterator<Item = &'a Answer>) -> Self {
        let mut report = Self { most, ..Self::default() };
        for answer in answers {
            if answer.served() {
                report.served += 1;
            } else {
                *report.errors.entry(answer.failure()).or_default() += 1;
            }
        }
        report
    }

    /// Adds what the rig knows.
    pub(crate) fn seen(mut self, rig: &Rig) -> Self {
        self.wasted = rig.simulator.wasted().len();
        self.log = rig.log();
        self
    }

    /// Adds a bar: what has to hold, and whether it does.
    pub(crate) fn bar(mut self, holds: bool, what: impl Into<String>) -> Self {
        self.bars.push((holds, what.into()));
        self
    }

    /// Adds the bar that all that could be served was served.
    pub(crate) fn all_served(self) -> Self {
        let (served, most) = (self.served, self.most);
        self.bar(served == most, format!("served all that could be: {served} of {most}"))
    }

    pub(crate) fn passed(&self) -> bool {
        self.bars.iter().all(|(holds, _)| *holds)
    }

    /// Writes a line for the figures and one for each bar.
    pub(crate) fn print(&self, name: &str, took: Duration, out: &mut dyn Write) -> io::Result<()> {
        let verdict = if self.passed() { "PASS" } else { "FAIL" };
        let errors = self.errors.iter().map(|(kind, count)| format!("{count} × {kind}"));
        let errors = errors.collect::<Vec<_>>().join(", ");
        let errors = if errors.is_empty() { "none" } else { &errors };
        let (served, most, wasted) = (self.served, self.most, self.wasted);
        let seconds = took.as_secs_f32();
        writeln!(
            out,
            "{verdict}  {name:<9} served {served} of {most}, errors: {errors}, wasted: {wasted}, {seconds:.1} s"
        )?;
        for (holds, what) in &self.bars {
            writeln!(out, "        {}  {what}", if *holds { "yes" } else { "NO " })?;
        }
        out.flush()
    }

    /// The end of hermux's log, for a scenario that failed.
    pub(crate) fn print_log(&self, out: &mut dyn Write) -> io::Result<()> {
        let lines: Vec<_> = self.log.lines().collect();
        for line in &lines[lines.len().saturating_sub(20)..] {
            writeln!(out, "        | {line}")?;
        }
        Ok(())
    }
}

/// The figures of a count as text: `ann 3, ben 2`.
pub(crate) fn listed<K: std::fmt::Display>(counts: &BTreeMap<K, usize>) -> String {
    let all: Vec<_> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

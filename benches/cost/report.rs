//! Samples of several contenders, taken in turn, and how they are told: median, spread, ratio.

use std::io::{self, Write};

/// One quantity of all contenders: `samples[contender][round]`.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    pub(crate) samples: Vec<Vec<f64>>,
}

impl Part {
    pub(crate) fn new(name: &'static str, title: String, unit: &'static str, contenders: usize) -> Self {
        Self { name, title, unit, samples: vec![Vec::new(); contenders] }
    }

    /// A line for each contender; the ratio is the median of the rounds' own ratios to the first one.
    pub(crate) fn print(&self, labels: &[String], json: bool, out: &mut impl Write) -> io::Result<()> {
        if !json {
            writeln!(out, "\n{} ({})", self.title, self.unit)?;
        }
        for (label, samples) in labels.iter().zip(&self.samples) {
            let ratios: Vec<_> =
                samples.iter().zip(&self.samples[0]).map(|(mine, first)| mine / first).collect();
            let (median, low, high) = spread(samples);
            let (ratio, least, most) = spread(&ratios);
            if json {
                let line = serde_json::json!({
                    "part": self.name, "unit": self.unit, "contender": label, "median": median, "min": low,
                    "max": high, "ratio_to": labels[0], "ratio": ratio, "ratio_min": least,
                    "ratio_max": most, "samples": samples,
                });
                writeln!(out, "{line}")?;
            } else {
                write!(out, "  {label:<24} {median:>9.2}  ({low:.2}–{high:.2})")?;
                if label == &labels[0] {
                    writeln!(out)?;
                } else {
                    writeln!(out, "  {ratio:.3} × {} ({least:.3}–{most:.3})", labels[0])?;
                }
            }
        }
        out.flush()
    }
}

/// Median, least and greatest; NaN where there are none.
fn spread(samples: &[f64]) -> (f64, f64, f64) {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    let middle = sorted.len() / 2;
    let median = if sorted.len().is_multiple_of(2) {
        f64::midpoint(at(middle.wrapping_sub(1)), at(middle))
    } else {
        at(middle)
    };
    (median, at(0), at(sorted.len().wrapping_sub(1)))
}

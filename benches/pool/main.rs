//! The pool against the simulator, real minutes where a minute is meant: `cargo bench --bench pool`.
//!
//! Each scenario has a simulator and a hermux process of its own and asks the simulator, not hermux, what was
//! sent. It prints what was served of what was possible, the errors that callers saw, and the attempts that were
//! wasted, and sets that against its bars; one missed bar makes the exit code 1.

mod caller;
mod report;
mod rig;
mod scenarios;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;

use crate::report::Report;
use crate::scenarios::{ALL, Scene, Size};

/// Proves the pool against a look-alike of `OpenRouter`.
#[derive(Debug, Parser)]
#[command(name = "pool", after_help = scenes())]
struct Options {
    /// Play these only.
    #[arg(long, value_delimiter = ',', value_name = "NAME", value_parser = ALL.map(|scene| scene.name))]
    only: Vec<String>,
    /// Play small ones that take seconds, and none that can't do without minutes.
    #[arg(long)]
    quick: bool,
    /// Show the end of hermux's log where a bar is missed.
    #[arg(long)]
    log: bool,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn scenes() -> String {
    ALL.iter()
        .fold("Scenarios:".to_owned(), |text, scene| format!("{text}\n  {:<9} {}", scene.name, scene.about))
}

fn main() -> ExitCode {
    let options = Options::parse();
    if !options.bench {
        // `cargo test --all-targets` runs this too.
        let _ = writeln!(io::stdout(), "this takes minutes: cargo bench --bench pool -- --help");
        return ExitCode::SUCCESS;
    }
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Plays what was asked for; whether all bars were met.
fn run(options: &Options) -> io::Result<bool> {
    let size = if options.quick { Size::Quick } else { Size::Full };
    let wanted: Vec<&Scene> = ALL
        .iter()
        .filter(|scene| match &options.only[..] {
            [] => !(options.quick && scene.minutes),
            only => only.iter().any(|name| name == scene.name),
        })
        .collect();
    // Those that mostly wait run beside the others, which come one after another.
    let waits =
        |scene: &&Scene| size == Size::Full && matches!(scene.name, "minute" | "skew" | "day" | "fair");
    let (waiting, busy): (Vec<&Scene>, Vec<&Scene>) = wanted.into_iter().partition(waits);
    let mut all_passed = true;
    std::thread::scope(|scope| {
        let waiting: Vec<_> =
            waiting.into_iter().map(|scene| (scene, scope.spawn(move || play(scene, size)))).collect();
        for scene in busy {
            all_passed &= tell(scene, play(scene, size), options)?;
        }
        for (scene, thread) in waiting {
            let played =
                thread.join().unwrap_or_else(|_| (Err(io::Error::other("it panicked")), Duration::ZERO));
            all_passed &= tell(scene, played, options)?;
        }
        Ok(all_passed)
    })
}

fn play(scene: &Scene, size: Size) -> (io::Result<Report>, Duration) {
    let since = Instant::now();
    ((scene.play)(size), since.elapsed())
}

fn tell(
    scene: &Scene,
    (played, took): (io::Result<Report>, Duration),
    options: &Options,
) -> io::Result<bool> {
    let mut out = io::stdout();
    match played {
        Ok(report) => {
            report.print(scene.name, took, &mut out)?;
            if options.log && !report.passed() {
                report.print_log(&mut out)?;
            }
            Ok(report.passed())
        }
        Err(error) => {
            writeln!(out, "FAIL  {:<9} could not be played: {error}", scene.name)?;
            Ok(false)
        }
    }
}

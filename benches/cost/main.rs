//! The proxy's cost, side by side with nginx where it is installed: `cargo bench --bench cost`.
//!
//! Each contender runs alone on one core, the load and a mock upstream on another. All contenders are
//! measured in turn, round after round, in an order that turns around each time, and each sample is taken
//! from a process of its own, so that neither the machine's moods nor one lucky start favour anyone.

mod load;
mod mock;
mod proxies;
mod report;

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, ValueEnum};

use crate::load::Callers;
use crate::mock::{Ask, Mock};
use crate::proxies::{Contender, Running};
use crate::report::Part;

/// Measures what hermux costs, beside nginx where it is installed.
///
/// Each option can also be a variable: `HERMUX_BENCH_PAIRS=20` is `--pairs 20`.
#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "they are switches of a command line")]
#[command(name = "cost", args_override_self = true)]
struct Options {
    /// Rounds in which each contender is measured once.
    #[arg(long, default_value_t = 10)]
    pairs: usize,
    /// Requests of one sample, after half as many to warm up.
    #[arg(long, default_value_t = 40_000)]
    requests: usize,
    /// Kept-alive connections that make the requests.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Open streams.
    #[arg(long, default_value_t = 1_000)]
    streams: usize,
    /// Chunks of each stream, before the one with usage and `[DONE]`.
    #[arg(long, default_value_t = 100)]
    chunks: u32,
    /// Keys in tokens.csv; several numbers make several contenders.
    #[arg(long, value_delimiter = ',', default_value = "1000")]
    keys: Vec<usize>,
    /// A second hermux to compare with.
    #[arg(long)]
    other: Option<PathBuf>,
    /// Without nginx, also where it is installed.
    #[arg(long)]
    no_nginx: bool,
    /// Without the hermux of this source: what is left is nginx and the second one.
    #[arg(long)]
    no_hermux: bool,
    /// Measure these only.
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<What>,
    /// Leave these out.
    #[arg(long, value_delimiter = ',', value_enum)]
    skip: Vec<What>,
    /// The cores of the proxy and of the load.
    #[arg(long, value_delimiter = ',', default_value = "0,1")]
    cores: Vec<String>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
    /// Whether the process runs on its core; not set before that was tried.
    #[arg(long, hide = true)]
    pinned: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Time from start to ready.
    Start,
    /// CPU time of a request.
    Request,
    /// CPU time of an SSE chunk.
    Chunk,
    /// Memory of an open idle stream.
    Memory,
}

fn main() -> ExitCode {
    let options = options();
    if !options.bench {
        // `cargo test --all-targets` runs this too.
        let _ = writeln!(io::stdout(), "this takes minutes: cargo bench --bench cost -- --help");
        return ExitCode::SUCCESS;
    }
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The command line, with the variables in front of it.
fn options() -> Options {
    let mut args: Vec<_> = std::env::args_os().take(1).collect();
    for option in Options::command().get_opts().chain(Options::command().get_positionals()) {
        let Some(name) = option.get_long() else { continue };
        let variable = format!("HERMUX_BENCH_{}", name.replace('-', "_").to_ascii_uppercase());
        let Ok(value) = std::env::var(variable) else { continue };
        if option.get_action().takes_values() {
            args.push(format!("--{name}={value}").into());
        } else if !matches!(&*value, "" | "0" | "false") {
            args.push(format!("--{name}").into());
        }
    }
    args.extend(std::env::args_os().skip(1));
    let matches = Options::command().get_matches_from(args);
    Options::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

fn run(options: &Options) -> io::Result<()> {
    let [proxy_core, load_core] = &options.cores[..] else {
        return Err(io::Error::other("--cores takes two numbers"));
    };
    let Some(pinned) = options.pinned else {
        let taskset = Command::new("taskset").arg("--version").stdout(Stdio::null()).status().is_ok();
        let pinned = taskset && std::thread::available_parallelism()?.get() > 1;
        // A shell raises the limit of open files, which takes a system call that has no safe form here.
        let pin = if pinned { format!("taskset -c {load_core} ") } else { String::new() };
        let script =
            format!("ulimit -n $(ulimit -Hn) 2>/dev/null; exec {pin}\"$0\" \"$@\" --pinned {pinned}");
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).args(std::env::args_os());
        return Err(command.exec());
    };
    let mut out = io::stdout();
    let core = pinned.then_some(proxy_core.as_str());
    if core.is_none() {
        writeln!(
            io::stderr(),
            "not pinned to cores, so the figures are rough: taskset and two cores are needed"
        )?;
    }
    let contenders = contenders(options)?;
    let labels: Vec<_> = contenders.iter().map(|contender| contender.label.clone()).collect();
    let bench = Bench { options, mock: Mock::start(options.chunks)?, core, contenders };
    for what in [What::Start, What::Request, What::Chunk, What::Memory] {
        let wanted = options.only.is_empty() || options.only.contains(&what);
        if wanted && !options.skip.contains(&what) {
            bench.measure(what)?.print(&labels, options.json, &mut out)?;
        }
    }
    Ok(())
}

/// nginx first where it is there: the others are compared with the first.
fn contenders(options: &Options) -> io::Result<Vec<Contender>> {
    let mut contenders = Vec::new();
    if !options.no_nginx {
        match Contender::nginx()? {
            Some(nginx) => contenders.push(nginx),
            None => writeln!(io::stderr(), "nginx is not installed: no ratios to it")?,
        }
    }
    let this = (!options.no_hermux).then(|| PathBuf::from(env!("CARGO_BIN_EXE_hermux")));
    for (name, binary) in [("other", options.other.clone()), ("hermux", this)] {
        let Some(binary) = binary else { continue };
        for &keys in &options.keys {
            let several = options.keys.len() > 1;
            let label = if several { format!("{name} {keys} keys") } else { name.to_owned() };
            contenders.push(Contender::hermux(label, binary.clone(), keys)?);
        }
    }
    if contenders.is_empty() { Err(io::Error::other("nobody to measure")) } else { Ok(contenders) }
}

struct Bench<'a> {
    options: &'a Options,
    mock: Mock,
    core: Option<&'a str>,
    contenders: Vec<Contender>,
}

/// After this long, work that was put off, such as writing the ledger, is done and in the figures.
const SETTLE: Duration = Duration::from_millis(200);

impl Bench<'_> {
    fn measure(&self, what: What) -> io::Result<Part> {
        let Options { pairs, requests, connections, streams, chunks, .. } = self.options;
        let (name, title, unit) = match what {
            What::Start => ("start", "from start to ready".to_owned(), "ms"),
            What::Request => {
                let title =
                    format!("CPU a request: {connections} connections, 1 kB JSON, {requests} requests");
                ("request", title, "µs")
            }
            What::Chunk => {
                ("chunk", format!("CPU an SSE chunk: {streams} streams, {chunks} chunks of 300 bytes"), "µs")
            }
            What::Memory => {
                let title = format!("memory an open idle stream: {streams} streams, without the kernel's");
                ("memory", title, "KiB")
            }
        };
        let mut part = Part::new(name, title, unit, self.contenders.len());
        for round in 0..*pairs {
            let mut order: Vec<_> = (0..self.contenders.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for at in order {
                let contender = &self.contenders[at];
                let running = contender.start(self.mock.port, self.core)?;
                let sample = match what {
                    What::Start => Ok(running.ready.as_secs_f64() * 1e3),
                    What::Request => self.request(&running),
                    What::Chunk => self.chunk(&running),
                    What::Memory => self.memory(&running),
                };
                let named = |error| io::Error::other(format!("{}, {name}: {error}", contender.label));
                part.samples[at].push(sample.map_err(named)?);
            }
        }
        Ok(part)
    }

    fn request(&self, running: &Running) -> io::Result<f64> {
        let Options { requests, connections, .. } = *self.options;
        let mut callers = Callers::new(&running.target, Ask::Json)?;
        callers.ask(connections, requests / 2)?;
        std::thread::sleep(SETTLE);
        let before = running.cpu()?;
        callers.ask(connections, requests)?;
        std::thread::sleep(SETTLE);
        Ok(each(running.cpu()?.saturating_sub(before), requests))
    }

    fn chunk(&self, running: &Running) -> io::Result<f64> {
        let Options { streams, chunks, .. } = *self.options;
        let mut callers = Callers::new(&running.target, Ask::Stream)?;
        callers.open(streams)?;
        std::thread::sleep(SETTLE);
        let before = running.cpu()?;
        self.mock.play()?;
        callers.drain()?;
        std::thread::sleep(SETTLE);
        Ok(each(running.cpu()?.saturating_sub(before), streams * (chunks as usize + 2)))
    }

    fn memory(&self, running: &Running) -> io::Result<f64> {
        let Options { streams, .. } = *self.options;
        // What the first requests bring in, code above all, belongs to no stream.
        Callers::new(&running.target, Ask::Json)?.ask(8, 1_000)?;
        std::thread::sleep(SETTLE);
        let before = running.resident()?;
        let mut callers = Callers::new(&running.target, Ask::Stream)?;
        callers.open(streams)?;
        std::thread::sleep(SETTLE);
        let kib = running.resident()?.saturating_sub(before);
        Ok(count(usize::try_from(kib).unwrap_or(usize::MAX)) / count(streams))
    }
}

fn each(cpu: Duration, times: usize) -> f64 {
    cpu.as_secs_f64() * 1e6 / count(times)
}

#[expect(clippy::cast_precision_loss, reason = "all counts here are far below 2^52")]
fn count(times: usize) -> f64 {
    times as f64
}

//! `hermux top`: a running server live on the whole screen, until `q`.

mod app;
#[cfg(test)]
mod tests;
mod view;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};

use self::app::{App, Wanted};
use super::{Usage, terminal};
use crate::control::live::Live;
use crate::control::{About, AskError, client};

/// How often the server is asked.
const LOOK: Duration = Duration::from_secs(1);

/// How long a key or a signal may wait for its turn.
const TURN: Duration = Duration::from_millis(50);

/// What comes from elsewhere than the keyboard.
enum News {
    /// The server's state; none where there is no server any more.
    Live(Result<Option<Box<(About, Live)>>, AskError>),
    /// What came of ending the cooldowns of a key.
    Reset(String, Result<Option<usize>, AskError>),
    /// A signal to end, by its number.
    #[cfg_attr(not(unix), expect(dead_code, reason = "there are no signals"))]
    Signal(u8),
}

/// The exit code where the terminal is gone: as a shell tells it of a process that SIGHUP ended.
const HUNG_UP: i32 = 129;

/// Shows the server that uses `directory` until a person or a signal ends it.
pub(super) fn run(directory: &Path) -> anyhow::Result<ExitCode> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(Usage(
            "`hermux top` needs a terminal\n\
             hint: `hermux keys list` and `hermux stats` print what is known at one moment"
                .to_owned(),
        )
        .into());
    }
    let none = || AskError::NoServer { directory: directory.to_owned() };
    let (server, live) = client::live(directory)?.ok_or_else(none)?;
    let (to_screen, news) = mpsc::channel();
    let (resets, inbox) = mpsc::channel();
    catch_signals(to_screen.clone())?;
    let directory = directory.to_owned();
    thread::Builder::new()
        .name("asking".to_owned())
        .spawn(move || ask(&directory, &inbox, &to_screen))
        .context("could not start to ask the server")?;

    let mut app = App::new(server, live, terminal::colors_on_stdout());
    // Restores the terminal in a panic, too.
    let mut screen = ratatui::try_init().context("can't take over the terminal")?;
    let _restore = Restore;
    show(&mut screen, &mut app, &news, &resets)
}

/// Gives the terminal back as it was.
struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

fn show(
    screen: &mut DefaultTerminal,
    app: &mut App,
    news: &Receiver<News>,
    resets: &Sender<String>,
) -> anyhow::Result<ExitCode> {
    loop {
        screen.draw(|frame| view::draw(app, frame)).context("can't draw")?;
        let mut is_new = false;
        while !is_new {
            if event::poll(TURN).context("can't read the keyboard")? {
                match event::read().context("can't read the keyboard")? {
                    Event::Key(key) if key.is_press() => match app.press(key) {
                        Wanted::Quit => return Ok(ExitCode::SUCCESS),
                        // Where nobody takes it, the next news say that there is no server.
                        Wanted::Reset(name) => drop(resets.send(name)),
                        Wanted::Nothing => {}
                    },
                    _ => {}
                }
                is_new = true;
            }
            for news in news.try_iter() {
                is_new = true;
                match news {
                    News::Live(live) => app.take(live.map(|live| live.map(|live| *live))),
                    News::Reset(name, ended) => app.take_reset(&name, ended),
                    // As a shell tells it of a process that a signal ended.
                    News::Signal(number) => return Ok(ExitCode::from(128 + number)),
                }
            }
        }
    }
}

/// Asks the server each second, and at once after a reset, until nobody listens any more.
fn ask(directory: &Path, resets: &Receiver<String>, to_screen: &Sender<News>) {
    loop {
        if !io::stdin().is_terminal() {
            // It was closed without a signal. The keyboard reader would read its end over and over, and there is nothing
            // left to give back.
            std::process::exit(HUNG_UP);
        }
        let news = match resets.recv_timeout(LOOK) {
            Ok(name) => {
                let ended = client::reset(directory, Some(&name));
                Some(News::Reset(name, ended.map(|answer| answer.and_then(|(_, ended)| ended))))
            }
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        for news in
            news.into_iter().chain([News::Live(client::live(directory).map(|live| live.map(Box::new)))])
        {
            if to_screen.send(news).is_err() {
                return;
            }
        }
    }
}

/// Has signals that end a process told like other news, so that the terminal is given back first.
#[cfg(unix)]
fn catch_signals(to_screen: Sender<News>) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("could not start the signal loop")?;
    let mut signals = {
        let _inside = runtime.enter();
        [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()]
            .map(|kind| signal(kind).map(|signal| (kind, signal)))
            .into_iter()
            .collect::<Result<Vec<_>, _>>()
            .context("could not install signal handlers")?
    };
    let wait = move || {
        runtime.block_on(async {
            let any = signals.iter_mut().map(|(kind, signal)| {
                Box::pin(async {
                    signal.recv().await;
                    *kind
                })
            });
            let mut any: Vec<_> = any.collect();
            let kind = std::future::poll_fn(|cx| {
                any.iter_mut()
                    .map(|signal| signal.as_mut().poll(cx))
                    .find(std::task::Poll::is_ready)
                    .unwrap_or(std::task::Poll::Pending)
            });
            let number = kind.await.as_raw_value();
            // Who does not listen any more has ended already.
            let _ = to_screen.send(News::Signal(u8::try_from(number).unwrap_or(0)));
        });
        // The screen may be stuck in a read of a terminal that is gone.
        thread::sleep(2 * LOOK);
        std::process::exit(HUNG_UP);
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait)
        .context("could not start the signal loop")?;
    Ok(())
}

/// Without signals there is nothing to catch.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
fn catch_signals(_to_screen: Sender<News>) -> anyhow::Result<()> {
    Ok(())
}

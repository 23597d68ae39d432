//! What the system tells a server, and what it is told: signals, and systemd's notifications.

use std::io;

/// What a signal asks for.
pub(super) enum Event {
    /// To read the files anew.
    #[cfg_attr(windows, expect(dead_code, reason = "no signal says so there"))]
    Reload,
    /// To finish.
    Stop,
}

/// What the service manager is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Notice {
    /// The port is open and requests are served.
    Ready,
    /// The files are read anew; `Ready` follows.
    Reloading,
    /// Open streams may finish, new ones are not taken.
    Stopping,
}

/// Tells systemd, where it asked to be told; elsewhere this does nothing.
#[cfg(unix)]
pub(super) fn notify(notice: Notice) {
    use sd_notify::NotifyState;
    let state = match notice {
        Notice::Ready => NotifyState::Ready,
        Notice::Reloading => NotifyState::Reloading,
        Notice::Stopping => NotifyState::Stopping,
    };
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!("could not notify the service manager: {error}");
    }
}

#[cfg(not(unix))]
pub(super) fn notify(_: Notice) {}

/// The signals that concern the server.
#[cfg(unix)]
pub(super) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    /// Catches them from now on.
    pub(super) fn install() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Event {
        tokio::select! {
            _ = self.terminate.recv() => Event::Stop,
            _ = self.interrupt.recv() => Event::Stop,
            _ = self.hangup.recv() => Event::Reload,
        }
    }
}

/// What Windows has in place of signals: Ctrl-C, Ctrl-Break, the console's end and the system's.
/// None of them asks to reload; changed files are seen without one.
#[cfg(windows)]
pub(super) struct Signals {
    interrupt: tokio::signal::windows::CtrlC,
    pause: tokio::signal::windows::CtrlBreak,
    close: tokio::signal::windows::CtrlClose,
    shutdown: tokio::signal::windows::CtrlShutdown,
}

#[cfg(windows)]
impl Signals {
    pub(super) fn install() -> io::Result<Self> {
        use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown};
        Ok(Self {
            interrupt: ctrl_c()?,
            pause: ctrl_break()?,
            close: ctrl_close()?,
            shutdown: ctrl_shutdown()?,
        })
    }

    pub(super) async fn next(&mut self) -> Event {
        tokio::select! {
            _ = self.interrupt.recv() => Event::Stop,
            _ = self.pause.recv() => Event::Stop,
            _ = self.close.recv() => Event::Stop,
            _ = self.shutdown.recv() => Event::Stop,
        }
    }
}

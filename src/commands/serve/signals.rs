//! What the operating system tells the server, and what the server tells a service manager.

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::{
    CtrlBreak, CtrlC, CtrlClose, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown,
};

/// What was told.
pub(super) enum Event {
    /// Read the files again: SIGHUP. Windows has nothing like it; changed files are noticed all the same.
    #[cfg_attr(not(unix), allow(dead_code, reason = "nobody tells it there"))]
    Reload,
    /// End: SIGTERM or SIGINT; on Windows Ctrl-C, Ctrl-Break, the window closed or the machine shut down.
    Stop,
}

/// The signals that concern the server.
#[cfg(unix)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

#[cfg(unix)]
impl Signals {
    pub(super) fn install() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    pub(super) async fn next(&mut self) -> Event {
        tokio::select! {
            _ = self.terminate.recv() => Event::Stop,
            _ = self.interrupt.recv() => Event::Stop,
            _ = self.hangup.recv() => Event::Reload,
        }
    }
}

/// The signals that concern the server.
#[cfg(windows)]
pub(super) struct Signals {
    ctrl_c: CtrlC,
    ctrl_break: CtrlBreak,
    close: CtrlClose,
    shutdown: CtrlShutdown,
}

#[cfg(windows)]
impl Signals {
    pub(super) fn install() -> std::io::Result<Self> {
        Ok(Self {
            ctrl_c: ctrl_c()?,
            ctrl_break: ctrl_break()?,
            close: ctrl_close()?,
            shutdown: ctrl_shutdown()?,
        })
    }

    pub(super) async fn next(&mut self) -> Event {
        tokio::select! {
            _ = self.ctrl_c.recv() => Event::Stop,
            _ = self.ctrl_break.recv() => Event::Stop,
            _ = self.close.recv() => Event::Stop,
            _ = self.shutdown.recv() => Event::Stop,
        }
    }
}

/// How the server is, for a service manager.
#[derive(Clone, Copy, Debug)]
pub(super) enum Health {
    Ready,
    Reloading,
    Stopping,
}

/// Tells systemd, where it asked to be told; elsewhere this does nothing.
#[cfg(unix)]
pub(super) fn notify(health: Health) {
    use sd_notify::NotifyState;

    let told = match health {
        Health::Ready => sd_notify::notify(&[NotifyState::Ready]),
        // With the time it also serves units of Type=notify-reload.
        Health::Reloading => NotifyState::monotonic_usec_now()
            .and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now])),
        Health::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
    };
    if let Err(error) = told {
        tracing::debug!("could not notify the service manager: {error}");
    }
}

#[cfg(not(unix))]
pub(super) fn notify(_: Health) {}

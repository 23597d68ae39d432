//! Where a system has no Unix sockets: no control socket.

use std::convert::Infallible;
use std::io;
use std::path::Path;

use super::View;

/// The socket that there is not.
pub struct Control(Infallible);

impl Control {
    /// Says that there is none.
    pub fn open(_directory: &Path, _view: View) -> io::Result<Self> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no Unix sockets"))
    }

    /// Never called.
    pub async fn serve(self) {
        match self.0 {}
    }
}

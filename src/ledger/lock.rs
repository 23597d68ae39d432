//! The lock of a data directory: one process at a time, and the others learn which one.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::OpenError;
use super::place::{private_directory, private_file};

/// Creates `directory` where it is missing and takes its lock; the lock lives as long as the file that is handed out.
pub(super) fn take(directory: &Path) -> Result<File, OpenError> {
    let unwritable =
        |reason: io::Error| OpenError::Unwritable { directory: directory.display().to_string(), reason };
    private_directory().create(directory).map_err(unwritable)?;
    let mut file = private_file()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(directory.join("hermux.lock"))
        .map_err(unwritable)?;
    match file.try_lock() {
        Ok(()) => {
            // The lock holds without it: a full disk only costs the others the number.
            let _ = write_pid(&mut file);
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            Err(OpenError::InUse { pid: read_pid(&mut file), directory: directory.display().to_string() })
        }
        Err(TryLockError::Error(reason)) => Err(unwritable(reason)),
    }
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

/// The number of the process that holds the lock, or 0: it may have taken the lock a moment ago and not have written yet.
fn read_pid(file: &mut File) -> u32 {
    for _ in 0..10 {
        let mut text = String::new();
        let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
        if let (Ok(_), Ok(pid)) = (read, text.trim().parse()) {
            return pid;
        }
        thread::sleep(Duration::from_millis(10));
    }
    0
}

//! Waiting for a device without missing that it is to stop.

use std::{os::fd::AsFd, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

/// How often who waits for a device looks whether it is to stop.
pub(crate) const LOOK: Duration = Duration::from_millis(200);

/// Waits for [`LOOK`] at most; whether there is something to read, or to be told.
///
/// # Errors
/// The system's own. A signal is none: it counts as nothing to read.
pub(crate) fn is_readable(fd: impl AsFd) -> Result<bool, Errno> {
    let wait = Timespec::try_from(LOOK).map_err(|_| Errno::INVAL)?;
    match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&wait)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(e) => Err(e),
    }
}

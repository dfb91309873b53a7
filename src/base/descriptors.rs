//! What an error of the system says of file descriptors.

use std::io;

use rustix::io::Errno;

/// Says whether an error means that there are no descriptors left, for this process or for all.
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    let wanted = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| wanted.contains(&code))
}

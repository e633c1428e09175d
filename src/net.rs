//! What errors of the network mean, for all who connect.

use std::io;

use rustix::io::Errno;

/// Whether something failed for want of file descriptors, ports or memory on this side. That says nothing about the other.
pub fn is_shortage_here(error: &io::Error) -> bool {
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::ADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|number| shortages.iter().any(|errno| errno.raw_os_error() == number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_here_is_told_from_a_backend_that_refuses() {
        assert!(is_shortage_here(&io::Error::from_raw_os_error(Errno::MFILE.raw_os_error())));
        assert!(!is_shortage_here(&io::Error::from_raw_os_error(Errno::CONNREFUSED.raw_os_error())));
        assert!(!is_shortage_here(&io::Error::other("no number")));
    }
}

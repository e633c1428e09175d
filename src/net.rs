//! Connections as streams of bytes, whatever they are made of, and what errors of the network mean.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

/// File descriptors that are prepared for at most: 2 MiB of the kernel's memory.
const FILES_AHEAD_MAX: usize = 1 << 18;

/// Makes room for so many file descriptors, as far as they are allowed, while there is one thread. The kernel doubles the
/// table when it is full; in a process of several threads, whoever needs it waits about 10 ms then, with all that it serves.
///
/// # Errors
/// None is to be had.
pub fn prepare_for_files(count: usize) -> io::Result<()> {
    let allowed = getrlimit(Resource::Nofile).current.and_then(|most| usize::try_from(most).ok());
    let last = count.min(FILES_AHEAD_MAX).min(allowed.unwrap_or(usize::MAX).saturating_sub(1));
    let file = std::fs::File::open("/dev/null")?;
    // The table keeps its size when the last one is closed.
    drop(rustix::io::fcntl_dupfd_cloexec(&file, i32::try_from(last).map_err(io::Error::other)?)?);
    Ok(())
}

/// A connected socket.
#[derive(Debug)]
pub enum Socket {
    /// Over TCP.
    Tcp(TcpStream),
    /// Through a file.
    Unix(UnixStream),
    /// One of the others, with a client that speaks TLS.
    Tls(Box<TlsStream<Socket>>),
}

/// Does the same with each kind of socket.
macro_rules! each {
    ($socket:expr, $stream:ident => $does:expr) => {
        match $socket {
            Self::Tcp($stream) => $does,
            Self::Unix($stream) => $does,
            Self::Tls($stream) => $does,
        }
    };
}

impl Socket {
    /// Nothing has come over an idle connection, not even its end. Costs no system call as long as that is so.
    pub fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let mut space = ReadBuf::new(&mut byte);
        // Whatever is there, an end, an error or a byte that nobody asked for, the connection is of no use.
        Pin::new(self).poll_read(&mut Context::from_waker(Waker::noop()), &mut space).is_pending()
    }

    /// What has come, without taking it; empty at the end. Of TLS, what has come is not looked at.
    ///
    /// # Errors
    /// The connection is broken.
    pub async fn peek(&self, space: &mut [u8]) -> io::Result<usize> {
        let look = || Ok(rustix::net::recv(self, &mut *space, RecvFlags::PEEK)?.0);
        match self {
            Self::Tcp(stream) => stream.async_io(Interest::READABLE, look).await,
            Self::Unix(stream) => stream.async_io(Interest::READABLE, look).await,
            Self::Tls(_) => Ok(0),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
            Self::Tls(stream) => stream.get_ref().0.as_fd(),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, space))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, data))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(cx, data))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }
}

/// Binds a Unix socket that has yet to listen. One that a former life left behind is replaced, one that answers is not, and nor
/// is anything else that lies there.
///
/// # Errors
/// The path is in use, or can't be had.
pub fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            return Err(io::Error::other("what lies there is no socket, and stays"));
        }
        Ok(_) if is_left_behind(path) => std::fs::remove_file(path)?,
        _ => {}
    }
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    socket.set_nonblocking(true)?;
    Ok(UnixListener::from(socket))
}

/// Whether nobody listens there any more. Of another kind of socket, a datagram one say, this can't be told.
fn is_left_behind(path: &Path) -> bool {
    let connected = std::os::unix::net::UnixStream::connect(path);
    connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Whether something failed for want of file descriptors, ports or memory on this side. That says nothing about the other.
pub fn is_shortage_here(error: &io::Error) -> bool {
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::ADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|number| shortages.iter().any(|errno| errno.raw_os_error() == number))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn only_a_socket_that_nobody_listens_at_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("there");
        std::fs::write(&path, "precious").unwrap();
        let why = bind_unix(&path).unwrap_err().to_string();
        assert_eq!(why, "what lies there is no socket, and stays");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
        std::fs::remove_file(&path).unwrap();

        let datagrams = UnixDatagram::bind(&path).unwrap();
        bind_unix(&path).unwrap_err();
        datagrams.send_to(b"x", &path).unwrap();
        std::fs::remove_file(&path).unwrap();

        let listener = bind_unix(&path).unwrap();
        rustix::net::listen(&listener, 1).unwrap();
        bind_unix(&path).unwrap_err();
        drop(listener);
        bind_unix(&path).unwrap();
    }

    #[test]
    fn a_shortage_here_is_told_from_a_backend_that_refuses() {
        assert!(is_shortage_here(&io::Error::from_raw_os_error(Errno::MFILE.raw_os_error())));
        assert!(!is_shortage_here(&io::Error::from_raw_os_error(Errno::CONNREFUSED.raw_os_error())));
        assert!(!is_shortage_here(&io::Error::other("no number")));
    }
}

//! Where lines go: a file that can be moved away under it, standard output, or systemd's journal.
//!
//! All of them may stand still: a full pipe, a slow disk. So they are written on a thread of their own, and what comes when
//! too much waits is dropped, and counted.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

/// Where systemd's journal takes entries.
pub const JOURNAL: &str = "/run/systemd/journal/socket";

/// Has a file opened again: the old one may have been moved away. The thread that writes it does so, before its next line, for
/// opening may take as long as writing does. Whoever wishes it goes on.
#[derive(Clone, Debug, Default)]
pub struct Again(Arc<AtomicBool>);

impl Again {
    /// Wishes it.
    pub fn wish(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// A file that lines are added to.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    again: Again,
}

impl LogFile {
    /// Opens it, or makes it.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: append(path)?, again: Again::default() })
    }

    /// What has it opened again.
    pub fn again(&self) -> Again {
        self.again.clone()
    }

    /// Goes on in the file that has its path now, if that is wished. If it can't, it goes on in the old one.
    fn look(&mut self) {
        if !self.again.take() {
            return;
        }
        let path = self.path.display();
        match append(&self.path) {
            Ok(file) => {
                self.file = file;
                tracing::info!(%path, "the access log was opened again");
            }
            Err(error) => {
                tracing::error!(%path, %error, "the access log can't be opened again; it goes on in the old file");
            }
        }
    }
}

/// A pipe that nobody reads would be waited for until somebody does. That may be never, and would be told nobody.
fn append(path: &Path) -> io::Result<File> {
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new().append(true).create(true).custom_flags(nonblocking).open(path);
    let file = opened.map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::NXIO) => io::Error::other("nobody reads from this pipe"),
        _ => error,
    })?;
    // To write is to wait for whoever reads: this thread has nothing else to do.
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    Ok(file)
}

/// What takes whole lines, and never fails: what it can't write is counted.
#[derive(Debug)]
pub struct Out {
    to: To,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum To {
    File(LogFile),
    Stdout,
    Journal(UnixDatagram, PathBuf),
}

impl Out {
    /// To a file. Lines that come while others are written are written together.
    pub fn file(file: LogFile, lost: Arc<AtomicU64>) -> BufWriter<Self> {
        BufWriter::new(Self { to: To::File(file), lost })
    }

    /// To standard output.
    pub fn stdout(lost: Arc<AtomicU64>) -> BufWriter<Self> {
        BufWriter::new(Self { to: To::Stdout, lost })
    }

    /// To a socket that takes each entry as one datagram.
    pub fn journal(socket: &Path, lost: Arc<AtomicU64>) -> io::Result<Self> {
        Ok(Self { to: To::Journal(UnixDatagram::unbound()?, socket.to_owned()), lost })
    }
}

impl Write for Out {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let (written, count) = match &mut self.to {
            To::File(file) => {
                file.look();
                (file.file.write_all(lines), ends_of_lines(lines))
            }
            To::Stdout => (io::stdout().write_all(lines), ends_of_lines(lines)),
            To::Journal(socket, path) => (socket.send_to(lines, path).map(drop), 1),
        };
        if written.is_err() {
            self.lost.fetch_add(count, Ordering::Relaxed);
        }
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            To::Stdout => io::stdout().flush()?,
            // Whoever has nothing to write comes by here before it waits for the next line.
            To::File(file) => file.look(),
            To::Journal(..) => {}
        }
        Ok(())
    }
}

fn ends_of_lines(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_lost_when_the_file_is_moved_away_and_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let [path, moved] = ["access.log", "access.log.1"].map(|name| folder.path().join(name));
        let file = LogFile::open(&path).unwrap();
        let again = file.again();
        let lost = Arc::new(AtomicU64::new(0));
        let mut out = Out::file(file, lost.clone());
        out.write_all(b"1\n").unwrap();
        out.flush().unwrap();
        std::fs::rename(&path, &moved).unwrap();
        out.write_all(b"2\n").unwrap();
        out.flush().unwrap();
        out.write_all(b"3\n").unwrap();
        again.wish();
        out.write_all(b"4\n").unwrap();
        out.flush().unwrap();
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "1\n2\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "3\n4\n");
        assert_eq!(lost.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_file_that_cannot_be_opened_again_leaves_the_old_one_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs").join("access.log");
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        let file = LogFile::open(&path).unwrap();
        let moved = folder.path().join("moved");
        std::fs::rename(path.parent().unwrap(), &moved).unwrap();
        file.again().wish();
        Out::file(file, Arc::default()).write_all(b"1\n").unwrap();
        assert_eq!(std::fs::read_to_string(moved.join("access.log")).unwrap(), "1\n");
    }

    #[test]
    fn it_is_opened_again_although_there_is_nothing_to_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let file = LogFile::open(&path).unwrap();
        let again = file.again();
        let mut out = Out::file(file, Arc::default());
        std::fs::remove_file(&path).unwrap();
        again.wish();
        out.write_all(b"").unwrap();
        out.flush().unwrap();
        assert!(path.exists());
    }

    #[test]
    fn a_pipe_is_waited_for_only_if_somebody_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert!(LogFile::open(&path).unwrap_err().to_string().contains("nobody reads"));
        let _reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let file = LogFile::open(&path).unwrap().file;
        assert!(
            !fcntl_getfl(&file).unwrap().contains(OFlags::NONBLOCK),
            "what it can't take at once is not lost"
        );
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let lost = Arc::new(AtomicU64::new(0));
        let mut full = Out::file(LogFile::open(Path::new("/dev/full")).unwrap(), lost.clone());
        full.write_all(b"1\n2\n").unwrap();
        full.flush().unwrap();
        assert_eq!(lost.load(Ordering::Relaxed), 2);
        let nowhere = tempfile::tempdir().unwrap().path().join("none");
        Out::journal(&nowhere, lost.clone()).unwrap().write_all(b"A=1\nB=2\n").unwrap();
        assert_eq!(lost.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn an_entry_of_the_journal_is_one_datagram() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        let mut out = Out::journal(&path, Arc::default()).unwrap();
        out.write_all(b"A=1\nB=2\n").unwrap();
        out.write_all(b"A=3\n").unwrap();
        let mut datagram = [0; 64];
        let bytes = journal.recv(&mut datagram).unwrap();
        assert_eq!(&datagram[..bytes], b"A=1\nB=2\n");
    }
}

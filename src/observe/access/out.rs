//! Where lines go: a file that can be moved away under it, standard output, or systemd's journal.
//!
//! All of them may stand still: a full pipe, a slow disk. So they are written on a thread of their own, and what comes when
//! too much waits is dropped, and counted.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where systemd's journal takes entries.
pub const JOURNAL: &str = "/run/systemd/journal/socket";

/// A file that lines are added to.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: Mutex<File>,
}

impl LogFile {
    /// Opens it, or makes it.
    pub fn open(path: &Path) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self { path: path.to_owned(), file: Mutex::new(append(path)?) }))
    }

    /// Goes on in the file that has its path now: the old one may have been moved away. If that fails, it goes on in the old
    /// one.
    pub fn reopen(&self) -> io::Result<()> {
        let file = append(&self.path)?;
        *self.lock() = file;
        Ok(())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn lock(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// What takes whole lines, and never fails: what it can't write is counted.
#[derive(Debug)]
pub struct Out {
    to: To,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum To {
    File(Arc<LogFile>),
    Stdout,
    Journal(UnixDatagram, PathBuf),
}

impl Out {
    /// To a file. Lines that come while others are written are written together.
    pub fn file(file: Arc<LogFile>, lost: Arc<AtomicU64>) -> BufWriter<Self> {
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
        let (written, count) = match &self.to {
            // As long as it is locked, nobody changes the file in the middle of a line.
            To::File(file) => (file.lock().write_all(lines), ends_of_lines(lines)),
            To::Stdout => (io::stdout().write_all(lines), ends_of_lines(lines)),
            To::Journal(socket, path) => (socket.send_to(lines, path).map(drop), 1),
        };
        if written.is_err() {
            self.lost.fetch_add(count, Ordering::Relaxed);
        }
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.to {
            To::Stdout => io::stdout().flush(),
            To::File(_) | To::Journal(..) => Ok(()),
        }
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
        let lost = Arc::new(AtomicU64::new(0));
        let mut out = Out::file(file.clone(), lost.clone());
        out.write_all(b"1\n").unwrap();
        out.flush().unwrap();
        std::fs::rename(&path, &moved).unwrap();
        out.write_all(b"2\n").unwrap();
        out.flush().unwrap();
        out.write_all(b"3\n").unwrap();
        file.reopen().unwrap();
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
        assert!(file.reopen().is_err());
        Out::file(file, Arc::default()).write_all(b"1\n").unwrap();
        assert_eq!(std::fs::read_to_string(moved.join("access.log")).unwrap(), "1\n");
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

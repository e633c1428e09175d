//! The line to an instance, over a relay of our own that can do what lines and dying machines do.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ghostpin::demo::processes::Reserved;
use ghostpin::demo::stand_in::READER_REQUEST;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How the line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Everything goes through.
    #[default]
    Well,
    /// Nobody listens. What is open ends with the instance.
    Absent,
    /// Nobody listens, and what was open is gone.
    Refuses,
    /// Connections are made and reset at once.
    Resets,
    /// Connections are made, and nothing goes through.
    Silent,
    /// Of each answer that is under way, or comes, half goes through, and then the connection breaks.
    Halves,
}

/// Bytes of an answer that go through when it is cut in half: its head, and some of its body.
const HALF: usize = 1_000;

/// See the module's text.
#[derive(Debug)]
pub struct Line {
    address: Reserved,
    state: watch::Sender<State>,
    listening: Option<JoinHandle<()>>,
    to: SocketAddr,
    given: Arc<Given>,
}

/// Which readers' requests a proxy has given to the line, whatever became of them.
#[derive(Debug, Default)]
struct Given(Mutex<BTreeSet<u64>>);

impl Given {
    /// Looks for them in what was sent. A head comes in one piece, from proxies on this machine.
    fn look(&self, sent: &[u8]) {
        let sent = sent.to_ascii_lowercase();
        let name = format!("{READER_REQUEST}: ");
        for at in memchr::memmem::find_iter(&sent, name.as_bytes()) {
            let digits = sent[at + name.len()..].iter().take_while(|byte| byte.is_ascii_digit());
            let number = digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
        }
    }
}

impl Line {
    /// A line to this instance.
    pub fn to(instance: SocketAddr) -> io::Result<Self> {
        let state = watch::Sender::new(State::Well);
        let (address, given) = (Reserved::any()?, Arc::default());
        let mut line = Self { address, state, listening: None, to: instance, given };
        line.listen()?;
        Ok(line)
    }

    /// Where it begins.
    pub fn address(&self) -> SocketAddr {
        self.address.address
    }

    /// From now on it is like this.
    pub fn be(&mut self, state: State) -> io::Result<()> {
        self.state.send_replace(state);
        if matches!(state, State::Refuses | State::Absent) {
            if let Some(listening) = self.listening.take() {
                listening.abort();
            }
        } else if self.listening.is_none() {
            self.listen()?;
        }
        Ok(())
    }

    /// The readers' requests that were given to it so far.
    pub fn given(&self) -> BTreeSet<u64> {
        self.given.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn listen(&mut self) -> io::Result<()> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.set_reuseport(true)?;
        socket.bind(self.address())?;
        let (listener, state, given) = (socket.listen(1024)?, self.state.subscribe(), self.given.clone());
        self.listening = Some(tokio::spawn(accept(listener, self.to, state, given)));
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.abort();
        }
    }
}

async fn accept(listener: TcpListener, to: SocketAddr, state: watch::Receiver<State>, given: Arc<Given>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(relay(stream, to, state.clone(), given.clone()));
    }
}

/// One connection, until either side or the line ends it.
async fn relay(proxy: TcpStream, to: SocketAddr, mut state: watch::Receiver<State>, given: Arc<Given>) {
    let now = *state.borrow();
    if now == State::Resets {
        return reset(&proxy);
    }
    if now == State::Silent {
        let over = state.wait_for(|state| *state != State::Silent);
        tokio::select! {
            _ = over => {}
            () = swallow(&proxy, &given) => {}
        }
        return reset(&proxy);
    }
    let Ok(instance) = TcpStream::connect(to).await else { return reset(&proxy) };
    let (proxy, instance) = (Arc::new(proxy), Arc::new(instance));
    let up = copy(proxy.clone(), instance.clone(), state.clone(), Some(&given));
    let down = copy(instance, proxy.clone(), state.clone(), None);
    // What a dying instance has said still arrives, whatever has become of the other way.
    let up = async {
        let _ = up.await;
        std::future::pending::<()>().await
    };
    let ended = async {
        tokio::select! {
            () = up => {}
            _ = down => {}
        }
    };
    let broken = state.wait_for(|state| matches!(state, State::Refuses | State::Resets));
    tokio::select! {
        () = ended => {}
        _ = broken => reset(&proxy),
    }
}

/// Takes what comes, and does nothing with it.
async fn swallow(from: &TcpStream, given: &Given) {
    let mut buffer = vec![0; 16 * 1024];
    while from.readable().await.is_ok() {
        match from.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => given.look(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// Passes on, as long as the line lets it. Ends with the connection.
async fn copy(
    from: Arc<TcpStream>,
    to: Arc<TcpStream>,
    mut state: watch::Receiver<State>,
    given: Option<&Given>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        from.readable().await?;
        let read = match from.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        if let Some(given) = given {
            given.look(&buffer[..read]);
        }
        let now = *state.wait_for(|state| *state != State::Silent).await.map_err(io::Error::other)?;
        let is_cut = given.is_none() && now == State::Halves;
        let mut rest = &buffer[..if is_cut { read.min(HALF) } else { read }];
        while !rest.is_empty() {
            to.writable().await?;
            match to.try_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if is_cut {
            return Ok(());
        }
    }
}

/// The connection is to end with a reset.
fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// An instance that answers everything with 2,000 bytes, and a line to it.
    async fn line() -> Line {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut asked = [0; 10];
                    while stream.read(&mut asked).await.is_ok_and(|read| read > 0) {
                        stream.write_all(&[b'x'; 2_000]).await.unwrap();
                    }
                });
            }
        });
        Line::to(address).unwrap()
    }

    async fn asked(line: &Line) -> io::Result<usize> {
        let mut stream = TcpStream::connect(line.address()).await?;
        stream.write_all(b"?").await?;
        let mut answer = vec![0; 2_000];
        let mut read = 0;
        while read < 2_000 {
            match stream.read(&mut answer[read..]).await? {
                0 => break,
                more => read += more,
            }
        }
        Ok(read)
    }

    #[tokio::test]
    async fn a_line_does_what_it_is_told() {
        let mut line = line().await;
        assert_eq!(asked(&line).await.unwrap(), 2_000);
        line.be(State::Halves).unwrap();
        assert_eq!(asked(&line).await.unwrap_or(HALF), HALF);
        line.be(State::Resets).unwrap();
        assert!(asked(&line).await.is_err());
        line.be(State::Refuses).unwrap();
        let refused = loop {
            // Until the listener is gone.
            match asked(&line).await {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => break true,
                _ => tokio::task::yield_now().await,
            }
        };
        assert!(refused);
        line.be(State::Silent).unwrap();
        let silent = tokio::time::timeout(std::time::Duration::from_millis(50), asked(&line)).await;
        assert!(silent.is_err());
        line.be(State::Well).unwrap();
        assert_eq!(asked(&line).await.unwrap(), 2_000);
    }
}

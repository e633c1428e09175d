//! The way to a backend through another edge, for one that can't reach it itself.
//!
//! The edge that takes it connects to the other one and says in one line for which site, and under which epoch. The other
//! lets it in by its own gate, like any request, and connects to the backend; from then on it carries bytes. So there are
//! two leases of the same epoch, one at each edge, and a fence waits for both. Whoever takes requests for others brings
//! them to the backend itself: there is never a third edge.
//!
//! ```text
//! edge:   DETOUR 1 <token> <epoch> <site>\n
//! other:  OK\n   or   NO\n
//! ```
//!
//! The token is known to whoever reads the fleet's store: the edges. It is another one after each start, but not after an
//! upgrade: two processes take what comes to the same socket then.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use subtle::ConstantTimeEq;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::config::Secret;
use crate::core::{Epoch, SiteName};

/// Longest line, in bytes, its end included.
pub const LINE_BYTES_MAX: usize = 512;
/// The other edge has a connection to the backend, and carries what comes.
pub const TAKEN: &[u8; 3] = b"OK\n";
/// Its gate is not open under this epoch, or it doesn't reach the backend either.
pub const REFUSED: &[u8; 3] = b"NO\n";

const VERSION: &str = "DETOUR 1";
const TOKEN_BYTES: usize = 16;
/// An edge whose machine has gone says nothing more. Its connections, and the leases that they have, end so much later.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// An edge that takes requests for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detour {
    /// What it is called.
    pub edge: String,
    /// Where it takes them.
    pub address: SocketAddr,
    /// Who says this may come.
    pub token: Secret,
}

/// What a connection to another edge is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errand {
    /// Whose backend is meant.
    pub site: SiteName,
    /// Under which epoch.
    pub epoch: Epoch,
}

impl Detour {
    /// What this process offers to others: with the token of the process before it, or with one that nobody has seen.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub fn offered(edge: String, address: SocketAddr, token: Option<String>) -> io::Result<Self> {
        let token = token.map_or_else(fresh_token, Ok)?;
        Ok(Self { edge, address, token: Secret::new(token) })
    }

    /// Connects to the backend through this edge.
    ///
    /// # Errors
    /// The edge can't be reached, or refuses.
    pub async fn take(&self, errand: &Errand) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        // Whoever has what he came for, or gives up, ends it at once: the other edge has a lease as long as it lasts.
        stream.set_zero_linger()?;
        stream.write_all(errand.line(&self.token).as_bytes()).await?;
        let mut answer = [0; TAKEN.len()];
        stream.read_exact(&mut answer).await?;
        if answer != *TAKEN {
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "the other edge refuses"));
        }
        Ok(stream)
    }
}

fn fresh_token() -> io::Result<String> {
    let mut bytes = [0; TOKEN_BYTES];
    let mut filled = 0;
    while filled < bytes.len() {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Errand {
    fn line(&self, token: &Secret) -> String {
        format!("{VERSION} {} {} {}\n", token.expose(), self.epoch, self.site)
    }

    /// What a line says, without its end, if whoever sends it knows the token.
    pub fn read(line: &[u8], token: &Secret) -> Option<Self> {
        let rest = std::str::from_utf8(line).ok()?.strip_prefix(VERSION)?.strip_prefix(' ')?;
        let mut words = rest.split(' ');
        let (given, epoch, site) = (words.next()?, words.next()?, words.next()?);
        let knows: bool = given.as_bytes().ct_eq(token.expose().as_bytes()).into();
        let errand = Self { site: SiteName::from(site), epoch: Epoch(epoch.parse().ok()?) };
        (knows && words.next().is_none()).then_some(errand)
    }
}

/// Prepares the other end of such a connection: it is not to outlive the machine that made it.
///
/// # Errors
/// The socket is no good.
pub fn prepare(stream: &impl std::os::fd::AsFd) -> io::Result<()> {
    let keepalive =
        TcpKeepalive::new().with_time(SILENCE_MAX / 3).with_interval(SILENCE_MAX / 3).with_retries(2);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(SILENCE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errand() -> Errand {
        Errand { site: "blog".into(), epoch: Epoch(7) }
    }

    fn token() -> Secret {
        Secret::new("0123456789abcdef0123456789abcdef".to_owned())
    }

    #[test]
    fn an_errand_is_read_as_it_was_written() {
        let line = errand().line(&token());
        assert_eq!(Errand::read(line.trim_end().as_bytes(), &token()), Some(errand()));
        assert!(line.len() < LINE_BYTES_MAX);
    }

    #[test]
    fn who_does_not_know_the_token_is_refused() {
        let line = errand().line(&token());
        let line = line.trim_end();
        for token in ["", "0", "0123456789abcdef0123456789abcdee", "0123456789abcdef0123456789abcdef0"] {
            assert_eq!(Errand::read(line.as_bytes(), &Secret::new(token.to_owned())), None, "{token}");
        }
    }

    #[test]
    fn what_is_no_errand_is_refused() {
        let token = token();
        let secret = token.expose();
        for line in [
            "".to_owned(),
            "GET / HTTP/1.1".to_owned(),
            format!("DETOUR 2 {secret} 7 blog"),
            format!("DETOUR 1 {secret} 7"),
            format!("DETOUR 1 {secret} seven blog"),
            format!("DETOUR 1 {secret} 7 blog more"),
            format!("DETOUR 1  {secret} 7 blog"),
        ] {
            assert_eq!(Errand::read(line.as_bytes(), &token), None, "{line}");
        }
        assert_eq!(Errand::read(b"DETOUR 1 \xff 7 blog", &token), None);
    }

    #[test]
    fn tokens_differ() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let token = || Detour::offered(String::new(), address, None).unwrap().token;
        assert_ne!(token().expose(), token().expose());
        assert_eq!(token().expose().len(), 2 * TOKEN_BYTES);
    }
}

//! PROXY protocol: a load balancer in front of ghostpin says whose connection it passes on, before anything else
//! (version 1 as a line of text, version 2 in binary). Only those are listened to who are named in the configuration, and
//! who is named must speak it: the first bytes of a client would be taken for such a header otherwise.

use std::io;
use std::net::IpAddr;

use ppp::{PartialResult, v1, v2};
use tokio::io::AsyncReadExt;

use crate::net::Socket;

/// Longest header, in bytes: addresses, and what a balancer tells besides.
pub const HEADER_BYTES_MAX: usize = 4096;
/// Longest header of version 1, in bytes, its line end included.
const LINE_BYTES_MAX: usize = 107;
/// What one of version 1 begins with.
const TEXT: &[u8] = b"PROXY ";

/// Whose connection this is: the balancer's own (`None`), or that of this client. Nothing but the header is read.
///
/// # Errors
/// There is no header, or it is none.
pub async fn client(stream: &mut Socket) -> io::Result<Option<IpAddr>> {
    let mut header = vec![0; HEADER_BYTES_MAX];
    let mut read = 0;
    loop {
        // What is behind the header belongs to the client's protocol. It is looked at, and left where it is.
        let there = stream.peek(&mut header[read..]).await?;
        if there == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let parsed = parse(&header[..read + there])?;
        let taken = parsed.map_or(there, |(length, _)| length - read);
        stream.read_exact(&mut header[read..read + taken]).await?;
        read += taken;
        if let Some((_, client)) = parsed {
            return Ok(client);
        }
    }
}

/// The header's length and whom it names, as soon as it is there.
///
/// # Errors
/// There is no header, or it is none.
pub fn parse(text: &[u8]) -> io::Result<Option<(usize, Option<IpAddr>)>> {
    if text.first() == Some(&TEXT[0]) { parse_text(text) } else { parse_binary(text) }
}

/// Version 1. Half a line says nothing: half an address is another one, or none.
fn parse_text(text: &[u8]) -> io::Result<Option<(usize, Option<IpAddr>)>> {
    let seen = &text[..text.len().min(LINE_BYTES_MAX)];
    let Some(end) = memchr::memchr(b'\n', seen) else {
        let may_become =
            seen.len() < LINE_BYTES_MAX && seen.iter().zip(TEXT).all(|(seen, text)| seen == text);
        return if may_become { Ok(None) } else { Err(bad(&"a line that is no header")) };
    };
    if !seen[..end].ends_with(b"\r") {
        return Err(bad(&"its line ends without a carriage return"));
    }
    let header = v1::Header::try_from(&seen[..=end]).map_err(|error| bad(&error))?;
    let client = match header.addresses {
        v1::Addresses::Tcp4(addresses) => Some(addresses.source_address.into()),
        v1::Addresses::Tcp6(addresses) => Some(addresses.source_address.into()),
        v1::Addresses::Unknown => None,
    };
    Ok(Some((end + 1, client)))
}

/// Version 2, which says its length.
fn parse_binary(text: &[u8]) -> io::Result<Option<(usize, Option<IpAddr>)>> {
    let parsed = v2::Header::try_from(text);
    if parsed.is_incomplete() && text.len() < HEADER_BYTES_MAX {
        return Ok(None);
    }
    let header = parsed.map_err(|error| bad(&error))?;
    let client = match header.addresses {
        // Its own connection: to see whether somebody is there, mostly.
        _ if header.command == v2::Command::Local => None,
        v2::Addresses::IPv4(addresses) => Some(addresses.source_address.into()),
        v2::Addresses::IPv6(addresses) => Some(addresses.source_address.into()),
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
    };
    Ok(Some((header.len(), client)))
}

fn bad(why: &dyn std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_string())
}

/// Whether connections from here begin with a header.
pub fn is_expected(from: IpAddr, balancers: &[ipnet::IpNet]) -> bool {
    let address = from.to_canonical();
    balancers.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    fn v2(command: v2::Command, tlv_bytes: usize) -> Vec<u8> {
        let addresses = v2::IPv4::new([192, 0, 2, 7], [127, 0, 0, 1], 1, 2);
        let mut header =
            v2::Builder::with_addresses(v2::Version::Two | command, v2::Protocol::Stream, addresses);
        for _ in 0..tlv_bytes / 100 {
            header = header.write_tlv(v2::Type::NoOp, &[7; 97]).unwrap();
        }
        header.build().unwrap()
    }

    /// What is made of these bytes, which come in pieces, and what is left behind the header.
    async fn read(sent: &[u8], piece: usize) -> io::Result<(Option<IpAddr>, Vec<u8>)> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        sender.set_nodelay(true).unwrap();
        let mut stream = Socket::Tcp(listener.accept().await.unwrap().0);
        let sending = async {
            for piece in sent.chunks(piece) {
                // Who is refused sees the connection end.
                let _ = sender.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            drop(sender);
        };
        let reading = async {
            let client = client(&mut stream).await?;
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await?;
            Ok((client, rest))
        };
        let (read, ()) = tokio::join!(reading, sending);
        read
    }

    #[tokio::test]
    async fn a_balancer_says_whose_connection_it_is_in_whatever_pieces_it_comes() {
        let client: Option<IpAddr> = Some("192.0.2.7".parse().unwrap());
        let v6: Option<IpAddr> = Some("2001:db8::7".parse().unwrap());
        for (header, expected) in [
            (&b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\n"[..], client),
            (b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n", v6),
            (b"PROXY UNKNOWN\r\n", None),
            (&v2(v2::Command::Proxy, 0), client),
            (&v2(v2::Command::Proxy, 500), client),
            (&v2(v2::Command::Local, 0), None),
        ] {
            let sent = [header, b"GET / HTTP/1.1\r\n\r\n"].concat();
            for piece in [1, 5, 13, sent.len()] {
                let (client, rest) = read(&sent, piece).await.unwrap();
                assert_eq!(
                    (client, rest.as_slice()),
                    (expected, &b"GET / HTTP/1.1\r\n\r\n"[..]),
                    "{header:?}"
                );
            }
        }
    }

    #[test]
    fn half_a_header_is_waited_for_whatever_it_looks_like() {
        for header in ["PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n", "PROXY UNKNOWN é\r\n"] {
            for end in 0..header.len() {
                assert!(matches!(parse(&header.as_bytes()[..end]), Ok(None)), "{end} bytes of {header:?}");
            }
            let (length, _) = parse(header.as_bytes()).unwrap().unwrap();
            assert_eq!(length, header.len());
        }
        for none in ["PROXIES", "PX", "GET", "PROXY UNKNOWN\n", &"PROXY UNKNOWN".repeat(9)] {
            assert!(parse(none.as_bytes()).is_err(), "{none}");
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let long = [v2(v2::Command::Proxy, 0)[..14].to_vec(), vec![0xff; 20_000]].concat();
        for sent in [
            &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            b"PROXY TCP4 192.0.2.7\r\n",
            b"PROXY TCP4 999.0.2.7 127.0.0.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2",
            b"",
            &long,
        ] {
            assert!(read(sent, 1000).await.is_err(), "{sent:?}");
        }
    }
}

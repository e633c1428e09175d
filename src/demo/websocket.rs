//! As much of WebSocket as the stand-in and its readers need: the handshake with the key of RFC 6455, 1.3, and short texts.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What every client here sends as `Sec-WebSocket-Key`.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// And what it is answered.
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A frame that is whole, with a text in it.
const TEXT: u8 = 0x81;
/// The kind of frame that ends a connection.
const CLOSE: u8 = 0x08;
const IS_MASKED: u8 = 0x80;
/// The longest text, in bytes, whose length is in one byte.
const MOST: usize = 125;

/// The next text; `None` if the other side ends the connection.
///
/// # Errors
/// If it breaks off, or what comes is not such a text.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<String>> {
    let odd = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let kind = match stream.read_u8().await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        kind => kind?,
    };
    let length = stream.read_u8().await?;
    let mut mask = [0; 4];
    if length & IS_MASKED != 0 {
        stream.read_exact(&mut mask).await?;
    }
    let mut text = vec![0; usize::from(length & !IS_MASKED)];
    if text.len() > MOST {
        return Err(odd("a frame that is too long"));
    }
    stream.read_exact(&mut text).await?;
    masked(&mut text, mask);
    match kind {
        TEXT => String::from_utf8(text).map(Some).map_err(|_| odd("a text that is none")),
        _ if kind & 0x0f == CLOSE => Ok(None),
        _ => Err(odd("a frame that is no text")),
    }
}

/// Sends a text of at most 125 bytes: a client masks it, a server doesn't.
///
/// # Errors
/// If it can't be sent.
pub async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    text: &str,
    mask: Option<[u8; 4]>,
) -> io::Result<()> {
    debug_assert!(text.len() <= MOST);
    let mut payload = text.as_bytes().to_vec();
    let mut frame = vec![TEXT, payload.len() as u8];
    if let Some(mask) = mask {
        frame[1] |= IS_MASKED;
        frame.extend_from_slice(&mask);
        masked(&mut payload, mask);
    }
    frame.extend_from_slice(&payload);
    stream.write_all(&frame).await
}

fn masked(payload: &mut [u8], mask: [u8; 4]) {
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn texts_come_as_they_were_sent_from_either_side() {
        let (mut client, mut server) = tokio::io::duplex(1_000);
        write(&mut client, "Hello", Some([0x37, 0xfa, 0x21, 0x3d])).await.unwrap();
        // RFC 6455, 5.7.
        let mut frame = [0; 11];
        server.read_exact(&mut frame).await.unwrap();
        assert_eq!(frame, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
        client.write_all(&frame).await.unwrap();
        assert_eq!(read(&mut server).await.unwrap().as_deref(), Some("Hello"));
        write(&mut server, "and back", None).await.unwrap();
        assert_eq!(read(&mut client).await.unwrap().as_deref(), Some("and back"));
        drop(server);
        assert_eq!(read(&mut client).await.unwrap(), None);
    }
}

//! Just enough of gRPC to be a server: frames and a status, over hyper's HTTP/2.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

/// Why a call has failed: gRPC's code, and a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status(pub(crate) i32, pub(crate) &'static str);

/// Where tasks run: with whoever has started them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Local;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

/// A call's messages, as they come in.
pub(crate) struct Asked {
    body: Incoming,
    buffer: BytesMut,
}

impl Asked {
    /// The next one; `None` if the client has said all, or is gone.
    pub(crate) async fn next<M: Message + Default>(&mut self) -> Option<M> {
        loop {
            if let Some(mut prefix) = self.buffer.get(..5) {
                prefix.advance(1);
                let length = prefix.get_u32() as usize;
                if self.buffer.len() >= 5 + length {
                    self.buffer.advance(5);
                    return M::decode(self.buffer.split_to(length)).ok();
                }
            }
            let frame = self.body.frame().await?.ok()?;
            self.buffer.extend_from_slice(frame.data_ref()?);
        }
    }
}

/// The way back of a call. It ends well when this is dropped.
#[derive(Clone)]
pub(crate) struct Answers(mpsc::UnboundedSender<Result<Bytes, Status>>);

impl Answers {
    pub(crate) fn say(&self, message: &impl Message) {
        let mut frame = BytesMut::new();
        frame.put_u8(0);
        frame.put_u32(message.encoded_len() as u32);
        message.encode(&mut frame).expect("there is room");
        // The client may be gone.
        let _ = self.0.send(Ok(frame.freeze()));
    }

    pub(crate) fn fail(&self, status: Status) {
        let _ = self.0.send(Err(status));
    }

    /// Ends when nobody listens any more.
    pub(crate) async fn closed(&self) {
        self.0.closed().await;
    }
}

struct Told {
    frames: mpsc::UnboundedReceiver<Result<Bytes, Status>>,
    is_over: bool,
}

impl Body for Told {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let status = match std::task::ready!(self.frames.poll_recv(cx)) {
            Some(Ok(frame)) => return Poll::Ready(Some(Ok(Frame::data(frame)))),
            Some(Err(status)) => status,
            None => Status(0, ""),
        };
        self.is_over = true;
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from(status.0));
        trailers.insert("grpc-message", HeaderValue::from_static(status.1));
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }
}

/// Serves one connection until it is gone. `call` is told the path of each call, and what goes in and out of it.
pub(crate) async fn serve(io: DuplexStream, call: impl Fn(String, Asked, Answers) + 'static) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (frames, received) = mpsc::unbounded_channel();
        let path = request.uri().path().to_owned();
        call(path, Asked { body: request.into_body(), buffer: BytesMut::new() }, Answers(frames));
        let mut response = Response::new(Told { frames: received, is_over: false });
        response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        std::future::ready(Ok::<_, Infallible>(response))
    });
    // How it ends is for the client to notice.
    let _ = hyper::server::conn::http2::Builder::new(Local).serve_connection(TokioIo::new(io), service).await;
}

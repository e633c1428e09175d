//! The same connection as hyper's HTTP/1 server reads it.

use std::cell::RefCell;
use std::convert::Infallible;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use http_body_util::Empty;
use hyper::server::conn::http1;
use hyper::service::service_fn;

use super::ours::Limits;
use super::pipe::{Incoming, Manner, wait};

/// A request as far as hyper hands it out.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) head: Request<()>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) is_whole: bool,
    /// Why it is not.
    pub(crate) broken: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) requests: Vec<Seen>,
    /// Why hyper read no further, if it says so.
    pub(crate) refused: Option<String>,
}

pub(crate) fn read(data: &[u8], manner: Manner, limits: Limits) -> Reading {
    let requests = RefCell::new(Vec::new());
    let service = service_fn(|request: Request<hyper::body::Incoming>| async {
        let (parts, mut body) = request.into_parts();
        let head = Request::from_parts(parts, ());
        // hyper may drop this in the middle of a body.
        let place = requests.borrow().len();
        requests.borrow_mut().push(Seen {
            head,
            body: Vec::new(),
            trailers: None,
            is_whole: false,
            broken: None,
        });
        loop {
            let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
            let seen = &mut requests.borrow_mut()[place];
            match frame {
                None => break seen.is_whole = true,
                Some(Err(error)) => break seen.broken = Some(chain(&error)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => seen.body.extend_from_slice(&data),
                    Err(frame) => seen.trailers = frame.into_trailers().ok(),
                },
            }
        }
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let refused = {
        let mut http = http1::Builder::new();
        // A client that has sent everything is no reason to stop reading what it has sent.
        http.half_close(true).max_headers(limits.fields).auto_date_header(false);
        let mut connection = pin!(http.serve_connection(Incoming::new(data, manner), service));
        wait(|cx| connection.as_mut().poll(cx)).err().map(|error| chain(&error))
    };
    Reading { requests: requests.into_inner(), refused }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text += &format!(": {inner}");
        source = inner.source();
    }
    text
}

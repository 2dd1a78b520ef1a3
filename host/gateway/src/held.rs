//! What the request of a known caller holds until its answer is out: a share of all requests (but
//! for the operator), and the connection, which
//! is not closed meanwhile to make room for others.

use crate::connections::{InUse, Line};
use crate::shares::Share;
use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    _share: Option<Share>,
    _line: Option<InUse>,
}

impl Held {
    /// A request in progress, on a connection where there is one.
    pub(crate) fn new(share: Option<Share>, line: Option<&Line>) -> Self {
        Self { _share: share, _line: line.map(Line::in_use) }
    }

    /// The same body, which holds this until it was given out to its end or dropped.
    pub(crate) fn until_the_end_of(self, body: Body) -> Body {
        Body::new(Holding { body, held: Some(self) })
    }
}

struct Holding {
    body: Body,
    held: Option<Held>,
}

impl http_body::Body for Holding {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.held = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

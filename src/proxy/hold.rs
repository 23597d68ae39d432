//! Holds an answer back while nothing of it says whether it is one: an error may come with status 200, too.

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http_body::{Body, Frame};
use memchr::{memchr2, memmem};
use tokio::time::timeout;

use crate::openrouter::fault::has_error;
use crate::upstream::{AnswerBody, BodyError};

/// How much of an answer's beginning is read to find out what it is, bytes.
pub(super) const READ: usize = 64 << 10;

/// What an answer's body is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Server-sent events.
    Events,
    /// One JSON value.
    Json,
    /// Anything else.
    Other,
    /// Encoded, so that nothing of it can be read.
    Encoded,
}

impl Form {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut codings = headers.get_all(CONTENT_ENCODING).iter();
        if codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Self::Encoded;
        }
        let Some(value) = headers.get(CONTENT_TYPE) else { return Self::Other };
        let media_type = value.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default();
        let is = |wanted: &[u8]| media_type.trim_ascii().eq_ignore_ascii_case(wanted);
        match () {
            () if is(b"text/event-stream") => Self::Events,
            () if is(b"application/json") => Self::Json,
            () => Self::Other,
        }
    }
}

/// The body of an answer, of which the beginning may have been read already.
#[derive(Debug)]
pub(super) struct Begun {
    read: Bytes,
    /// What follows it instead of the rest, of which nothing is left.
    then: Option<Box<Then>>,
    rest: AnswerBody,
}

/// The end of a body.
#[derive(Debug)]
enum Then {
    /// It is over.
    End,
    /// Trailers.
    Trailers(HeaderMap),
    /// A break.
    Broken(BodyError),
}

impl Begun {
    pub(super) fn new(body: AnswerBody) -> Self {
        Self { read: Bytes::new(), then: None, rest: body }
    }

    /// What was read and is not passed on yet.
    pub(super) fn read(&self) -> &[u8] {
        &self.read
    }

    /// What [`Body::is_end_stream`] says.
    pub(super) fn is_end_stream(&self) -> bool {
        self.read.is_empty()
            && self.then.as_ref().map_or(self.rest.is_end_stream(), |then| matches!(**then, Then::End))
    }

    /// How much there is to come, where that is known.
    pub(super) fn exact_size(&self) -> Option<u64> {
        // A known length would make the server leave out the trailers.
        if self.then.as_ref().is_some_and(|then| matches!(**then, Then::Trailers(_))) {
            return None;
        }
        Some(self.rest.size_hint().exact()? + self.read.len() as u64)
    }

    /// What [`Body::poll_frame`] does.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.read.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.read)))));
        }
        let Some(then) = &mut self.then else { return Pin::new(&mut self.rest).poll_frame(cx) };
        Poll::Ready(match std::mem::replace(&mut **then, Then::End) {
            Then::Trailers(trailers) => Some(Ok(Frame::trailers(trailers))),
            Then::Broken(error) => Some(Err(error)),
            Then::End => None,
        })
    }

    /// From here on there are only these trailers.
    pub(super) fn end_with(&mut self, trailers: HeaderMap) {
        self.then = Some(Box::new(Then::Trailers(trailers)));
    }

    /// From here on there is only this event, which may be empty, and then the break.
    pub(super) fn break_with(&mut self, event: Bytes, error: BodyError) {
        self.read = event;
        self.then = Some(Box::new(Then::Broken(error)));
    }

    /// Reads on until [`READ`] bytes are there, the body is over, or `patience` is.
    pub(super) async fn read_on(&mut self, patience: Duration) {
        let all = poll_fn(|cx| {
            while self.wants_more() {
                ready!(self.poll_more(cx));
            }
            Poll::Ready(())
        });
        // What did not come in time comes as it comes.
        timeout(patience, all).await.ok();
    }

    /// Looks, as far as that needs no waiting, whether this, the body of an answer with status 200, begins with an
    /// error. Of a stream its first event with data tells that, and of JSON its first bytes. Mostly they are here
    /// already.
    pub(super) fn look(&mut self, looking: &mut Looking, cx: &mut Context<'_>) -> Looks {
        loop {
            let looks = looking.at(&self.read);
            if let Looks::Good | Looks::Bad = looks {
                return looks;
            }
            if !self.wants_more() {
                return if looks == Looks::BadSoFar { Looks::Bad } else { Looks::Good };
            }
            if self.poll_more(cx).is_pending() {
                return looks;
            }
        }
    }

    /// Goes on looking for at most `patience`.
    pub(super) async fn hold(&mut self, mut looking: Looking, patience: Duration) -> Looks {
        let mut last = Looks::Unclear;
        let decided = poll_fn(|cx| {
            last = self.look(&mut looking, cx);
            match last {
                Looks::Good | Looks::Bad => Poll::Ready(()),
                Looks::Unclear | Looks::BadSoFar => Poll::Pending,
            }
        });
        timeout(patience, decided).await.ok();
        last
    }

    fn wants_more(&self) -> bool {
        self.read.len() < READ && self.then.is_none() && !self.rest.is_end_stream()
    }

    /// Reads one more frame.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match ready!(Pin::new(&mut self.rest).poll_frame(cx)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if self.read.is_empty() => self.read = data,
                Ok(data) => {
                    let read = std::mem::take(&mut self.read);
                    let mut read = read.try_into_mut().unwrap_or_else(|read| BytesMut::from(&read[..]));
                    read.extend_from_slice(&data);
                    self.read = read.freeze();
                }
                Err(other) => {
                    self.end_with(other.into_trailers().unwrap_or_default());
                }
            },
            Some(Err(error)) => self.then = Some(Box::new(Then::Broken(error))),
            None => self.then = Some(Box::new(Then::End)),
        }
        Poll::Ready(())
    }
}

/// What the beginning of a body looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looks {
    /// Nothing of it is here that says.
    Unclear,
    /// An answer.
    Good,
    /// An error, of which more is to come.
    BadSoFar,
    /// An error, and all of it is here.
    Bad,
}

/// Looks at a beginning that grows.
#[derive(Debug)]
pub(super) struct Looking {
    form: Form,
    /// The lines before it need no second look.
    at: usize,
    /// Where the first event's data begin.
    data: Option<usize>,
}

impl Looking {
    /// Nothing was looked at yet. What is neither a stream of events nor JSON is taken for good.
    pub(super) fn new(form: Form) -> Self {
        Self { form, at: 0, data: None }
    }

    fn at(&mut self, read: &[u8]) -> Looks {
        match self.form {
            Form::Events => self.events(read),
            Form::Json => json(read),
            Form::Other | Form::Encoded => Looks::Good,
        }
    }

    fn events(&mut self, read: &[u8]) -> Looks {
        loop {
            let rest = &read[self.at..];
            let line = memchr2(b'\n', b'\r', rest);
            let is_data = line.map_or(rest, |end| &rest[..end]).starts_with(b"data");
            if is_data && self.data.is_none() {
                self.data = Some(self.at);
            }
            let next = line.and_then(|end| match rest[end..] {
                // Whether this is all of the line's end shows only with the next byte.
                [b'\r'] => None,
                [b'\r', b'\n', ..] => Some(end + 2),
                _ => Some(end + 1),
            });
            let Some(next) = next else { break };
            self.at += next;
            if line == Some(0)
                && let Some(data) = self.data
            {
                if is_ping(&read[data..self.at]) {
                    self.data = None;
                    continue;
                }
                return if tells_of_an_error(&read[data..self.at]) { Looks::Bad } else { Looks::Good };
            }
        }
        // An event that is under way.
        let Some(data) = self.data.map(|data| &read[data..]) else { return Looks::Unclear };
        if tells_of_an_error(data) {
            return Looks::BadSoFar;
        }
        let is_content = |mark: &&str| memmem::find(data, mark.as_bytes()).is_some();
        let marks = ["\"choices\"", "\"message_start\"", "\"response.created\"", "\"response.in_progress\""];
        if marks.iter().any(is_content) { Looks::Good } else { Looks::Unclear }
    }
}

/// Whether it is worth taking apart.
fn tells_of_an_error(data: &[u8]) -> bool {
    memmem::find(data, b"error\"").is_some() || memmem::find(data, b"response.failed").is_some()
}

/// Whether the data of an event only keep a stream alive (Anthropic docs, Streaming messages: any number of `ping` events
/// may stand anywhere).
fn is_ping(data: &[u8]) -> bool {
    const PING: &[u8] = b"data:{\"type\":\"ping\"";
    data.iter().filter(|byte| !byte.is_ascii_whitespace()).take(PING.len()).eq(PING)
}

/// Looks at the first bytes of JSON: what begins with `{"error":{` or `{"type":"error"` is an error, and so is what has
/// an `error` behind other members, as far as that is here with them.
fn json(read: &[u8]) -> Looks {
    let begins = |texts: [&[u8]; 4]| {
        let mut rest = read;
        for text in texts {
            rest = rest.trim_ascii_start();
            match rest.strip_prefix(text) {
                Some(after) => rest = after,
                None if text.starts_with(rest) => return Looks::Unclear,
                None => return Looks::Good,
            }
        }
        Looks::BadSoFar
    };
    let envelope = begins([b"{", b"\"error\"", b":", b"{"]);
    let looks =
        if envelope == Looks::Good { begins([b"{", b"\"type\"", b":", b"\"error\""]) } else { envelope };
    if looks == Looks::Good && has_error(read) { Looks::BadSoFar } else { looks }
}

/// The data of the first event in `read` that has any, and is no ping.
pub(super) fn first_data(read: &[u8]) -> Cow<'_, [u8]> {
    let mut data: Option<Cow<'_, [u8]>> = None;
    for line in read.split(|&byte| byte == b'\n' || byte == b'\r') {
        let value = line.strip_prefix(b"data:").map(|value| value.strip_prefix(b" ").unwrap_or(value));
        match (value, &mut data) {
            (Some(value), None) => data = Some(Cow::Borrowed(value)),
            (Some(value), Some(data)) => {
                let data = data.to_mut();
                data.push(b'\n');
                data.extend_from_slice(value);
            }
            // Between CR and LF there is nothing, either; then the data are those of one line.
            (None, Some(value)) if line.is_empty() => {
                if !is_ping(&[b"data:", &value[..]].concat()) {
                    break;
                }
                data = None;
            }
            (None, _) => {}
        }
    }
    data.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Form, Looking, Looks, first_data};

    /// How a body looks after each of its bytes.
    fn looks(form: Form, body: &str) -> Vec<Looks> {
        let mut looking = Looking::new(form);
        (1..=body.len()).map(|length| looking.at(&body.as_bytes()[..length])).collect()
    }

    /// How a body looks in the end, read byte by byte and as a whole.
    fn at_last(form: Form, body: &str) -> Looks {
        let whole = Looking::new(form).at(body.as_bytes());
        let bytewise = looks(form, body).into_iter().find(|looks| matches!(looks, Looks::Good | Looks::Bad));
        // What shows itself early may not be waited for.
        if let Some(bytewise) = bytewise {
            assert_eq!(whole, bytewise, "{body:?}");
        }
        whole
    }

    #[test]
    fn comments_and_blanks_say_nothing() {
        for body in [
            "",
            ": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\r\n\r\n\n",
            "event: message_start\n",
            "id: 7\n\nretry: 9\n\n",
            "data: {\"id\":\"gen-1\"",
            "data: {\"id\":\"gen-1\"}\n",
            "data: {}\r",
            "event: ping\ndata: {\"type\": \"ping\"}\n\n: hi\n\nevent: message_start\n",
        ] {
            assert_eq!(at_last(Form::Events, body), Looks::Unclear, "{body:?}");
        }
        for body in ["", " \n\r\n\t", "\n{", "{ \"err", "{\n  \"error\" : ", "{\"type\"", "{\"type\": \"err"]
        {
            assert_eq!(at_last(Form::Json, body), Looks::Unclear, "{body:?}");
        }
    }

    #[test]
    fn content_is_told_by_its_beginning() {
        for body in [
            ": hi\n\ndata: {\"id\":\"gen-1\",\"choices\"",
            "event: message_start\ndata: {\"type\":\"message_start\"",
            "data: {\"type\":\"response.created\"",
            "data: {}\n\n",
            "data: [DONE]\r\n\r\n",
            ":\r\rdata\r\rd",
            "data: {\"text\":\"an \\\"error\\\" in it\"}\n\n",
        ] {
            assert_eq!(at_last(Form::Events, body), Looks::Good, "{body:?}");
        }
        for body in [
            "[",
            "{}",
            "{\"id",
            "\n\n{\"id\":1}",
            "{\"error\":null",
            "{\"id\":1,\"error\":null,\"output\":[{\"error\":{}}]}",
            "{\"id\":1,\"choices\":[{\"error\":{\"code\":502}}]}",
            "{\"id\":1,\"text\":\"\\\"error\\\":{\"}",
            "{\"errors\"",
            "{\"type\":\"message\"",
            "<",
        ] {
            assert_eq!(at_last(Form::Json, body), Looks::Good, "{body:?}");
        }
        assert_eq!(at_last(Form::Other, ""), Looks::Good);
    }

    #[test]
    fn an_error_is_waited_for() {
        for (body, expected) in [
            (": hi\n\ndata: {\"error\":{\"code\":429}}\n\n", Looks::Bad),
            ("event: error\r\ndata: {\"type\":\"error\",\"error\":{}}\r\n\r\n:", Looks::Bad),
            ("data: {\"type\":\"response.failed\"}\n\n", Looks::Bad),
            ("data: {\"type\":\"ping\"}\n\ndata: {\"type\":\"error\",\"error\":{}}\n\n", Looks::Bad),
            ("data: {\"error\":{\"code\":429}", Looks::BadSoFar),
        ] {
            assert_eq!(at_last(Form::Events, body), expected, "{body:?}");
        }
        for body in ["{\"error\":{", "\n \n{ \"error\" : {\"code\":429}}", "{\"type\":\"error\",\"error\""] {
            assert_eq!(at_last(Form::Json, body), Looks::BadSoFar, "{body:?}");
        }
    }

    #[test]
    fn an_error_behind_other_members_is_one_where_it_came_with_them() {
        for body in [
            "{\"id\":1,\"error\":{\"code\":402}}",
            "\n{ \"user_id\" : \"u\" , \"error\" : {\"code\"",
            "{\"status\":\"failed\",\"output\":[{\"a\":1}],\"error\":{",
        ] {
            assert_eq!(Looking::new(Form::Json).at(body.as_bytes()), Looks::BadSoFar, "{body}");
        }
    }

    #[test]
    fn the_first_events_data_are_taken_out() {
        for (read, data) in [
            (": hi\n\nevent: error\ndata: {}\n\ndata: 2\n\n", "{}"),
            ("event: ping\ndata: {\"type\": \"ping\"}\n\nevent: error\r\ndata: 1\r\n\r\n", "1"),
            ("data:{\r\n\r\ndata: 2", "{"),
            ("data: 1\ndata: 2\n\ndata: 3", "1\n2"),
            ("event: x\n\n", ""),
        ] {
            assert_eq!(first_data(read.as_bytes()), data.as_bytes(), "{read:?}");
        }
    }
}

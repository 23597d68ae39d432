//! The load: callers on kept-alive connections that ask again as soon as they are answered, and open streams.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use memchr::memmem;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::mock::{Ask, length_of};

/// No part may take longer than this.
const PATIENCE: Duration = Duration::from_secs(60);

/// So many streams are on their way to being open at the same time, fewer than a listen queue holds.
const OPENING: usize = 64;

/// Whom to ask, and with which access token.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) port: u16,
    pub(crate) token: String,
}

impl Target {
    fn request(&self, ask: Ask) -> Vec<u8> {
        let body = ask.body();
        format!(
            "POST /api/v1/chat/completions HTTP/1.1\r\n\
             Host: 127.0.0.1:{}\r\n\
             User-Agent: bench/1.0\r\n\
             Accept: application/json\r\n\
             Authorization: Bearer {}\r\n\
             Content-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.port,
            self.token,
            body.len()
        )
        .into()
    }
}

struct Caller {
    socket: TcpStream,
    asked: bool,
    /// What came of the answer so far; of a stream its end only, once it runs.
    answer: Vec<u8>,
    first: bool,
    over: bool,
}

/// Callers on connections of their own.
pub(crate) struct Callers {
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    deadline: Instant,
    port: u16,
    request: Vec<u8>,
    all: Vec<Caller>,
}

impl Callers {
    pub(crate) fn new(target: &Target, ask: Ask) -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1_024),
            scratch: vec![0; 64 << 10],
            deadline: Instant::now() + PATIENCE,
            port: target.port,
            request: target.request(ask),
            all: Vec::new(),
        })
    }

    fn connect(&mut self) -> io::Result<()> {
        let mut socket = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)))?;
        let token = Token(self.all.len());
        self.poll.registry().register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        self.all.push(Caller { socket, asked: false, answer: Vec::new(), first: true, over: false });
        Ok(())
    }

    /// Waits for events; `left` answers are still to come.
    fn wait(&mut self, left: usize) -> io::Result<Vec<usize>> {
        if Instant::now() > self.deadline {
            let what = format!("{left} answers did not come within {} s", PATIENCE.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, what));
        }
        match self.poll.poll(&mut self.events, Some(Duration::from_secs(1))) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        Ok(self.events.iter().map(|event| event.token().0).collect())
    }

    /// Has `connections` callers make `requests` requests together, each asking again as soon as answered.
    pub(crate) fn ask(&mut self, connections: usize, requests: usize) -> io::Result<()> {
        self.deadline = Instant::now() + PATIENCE;
        while self.all.len() < connections {
            self.connect()?;
        }
        let (mut asked, mut answered) = (0, 0);
        for caller in &mut self.all {
            // A connection that is new asks when it becomes writable, a kept one now.
            if caller.asked && asked < requests {
                send(&mut caller.socket, &self.request)?;
                asked += 1;
            }
        }
        while answered < requests {
            for at in self.wait(requests - answered)? {
                let caller = &mut self.all[at];
                if !caller.asked {
                    if asked < requests {
                        send(&mut caller.socket, &self.request)?;
                        caller.asked = true;
                        asked += 1;
                    }
                    continue;
                }
                read(&mut caller.socket, &mut self.scratch, &mut caller.answer)?;
                if whole_answer(&caller.answer, &mut caller.first)? {
                    caller.answer.clear();
                    answered += 1;
                    if asked < requests {
                        send(&mut caller.socket, &self.request)?;
                        asked += 1;
                    }
                }
            }
        }
        Ok(())
    }

    /// Opens `count` streams and waits for the first chunk of each.
    pub(crate) fn open(&mut self, count: usize) -> io::Result<()> {
        self.deadline = Instant::now() + PATIENCE;
        let mut open = 0;
        while open < count {
            while self.all.len() < count && self.all.len() < open + OPENING {
                self.connect()?;
            }
            for at in self.wait(count - open)? {
                let caller = &mut self.all[at];
                if !caller.asked {
                    send(&mut caller.socket, &self.request)?;
                    caller.asked = true;
                    continue;
                }
                if !caller.first {
                    continue;
                }
                read(&mut caller.socket, &mut self.scratch, &mut caller.answer)?;
                if memmem::find(&caller.answer, b"data: ").is_some() {
                    check_head(&caller.answer)?;
                    caller.answer.clear();
                    caller.first = false;
                    open += 1;
                }
            }
        }
        Ok(())
    }

    /// Reads all open streams to their end.
    pub(crate) fn drain(&mut self) -> io::Result<()> {
        const END: &[u8] = b"data: [DONE]\n\n\r\n0\r\n\r\n";
        self.deadline = Instant::now() + PATIENCE;
        let mut left = self.all.len();
        while left > 0 {
            for at in self.wait(left)? {
                let caller = &mut self.all[at];
                if caller.over {
                    continue;
                }
                read(&mut caller.socket, &mut self.scratch, &mut caller.answer)?;
                let answer = &mut caller.answer;
                caller.over =
                    answer.ends_with(b"0\r\n\r\n") && memmem::rfind(answer, b"data: [DONE]").is_some();
                left -= usize::from(caller.over);
                answer.drain(..answer.len().saturating_sub(2 * END.len()));
            }
        }
        Ok(())
    }
}

fn send(socket: &mut TcpStream, request: &[u8]) -> io::Result<()> {
    match socket.write(request) {
        Ok(count) if count == request.len() => Ok(()),
        Ok(_) => Err(io::Error::other("a request did not fit into an empty socket")),
        Err(error) => Err(error),
    }
}

/// Appends what came; an end is an error here.
fn read(socket: &mut TcpStream, scratch: &mut [u8], answer: &mut Vec<u8>) -> io::Result<()> {
    loop {
        match socket.read(scratch) {
            Ok(0) => return Err(ended(answer)),
            Ok(count) => {
                answer.extend_from_slice(&scratch[..count]);
                // A short read emptied the socket; what comes later makes a new event.
                if count < scratch.len() {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn ended(answer: &[u8]) -> io::Error {
    let tail = String::from_utf8_lossy(&answer[answer.len().saturating_sub(300)..]).into_owned();
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("the proxy closed a connection: …{tail}"))
}

/// Whether `answer` is complete; its head is looked at closely on a connection's first answer only.
fn whole_answer(answer: &[u8], first: &mut bool) -> io::Result<bool> {
    let Some(head) = memmem::find(answer, b"\r\n\r\n") else { return Ok(false) };
    let head = head + 4;
    if *first || !answer.starts_with(b"HTTP/1.1 200") {
        check_head(&answer[..head])?;
        *first = false;
    }
    let length = length_of(&answer[..head])
        .ok_or_else(|| io::Error::other("an answer of known length lost its content-length"))?;
    if answer.len() > head + length {
        return Err(io::Error::other("more came than one answer"));
    }
    Ok(answer.len() == head + length)
}

fn check_head(answer: &[u8]) -> io::Result<()> {
    let text = String::from_utf8_lossy(&answer[..answer.len().min(2_000)]);
    let named = text.to_ascii_lowercase().contains("\r\nx-token-name:");
    if text.starts_with("HTTP/1.1 200") && named {
        return Ok(());
    }
    Err(io::Error::other(format!("not a 200 with x-token-name: {text}")))
}

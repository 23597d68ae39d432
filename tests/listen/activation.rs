//! Sockets that a service manager handed over, as systemd's socket units do.

use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};

use crate::chat;
use crate::line::Line;
use crate::support::hermux::answer;
use crate::support::{Connection, PATIENCE, Request, Setup, Upstream, eventually};

#[test]
fn it_serves_on_the_sockets_it_is_given_and_opens_none() {
    let upstream = Upstream::answering(chat);
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let setup = Setup::new(&upstream);
    let path = setup.directory().join("handed.sock");
    let unix = UnixListener::bind(&path).unwrap();
    // A port that can't be listened on shows that it isn't tried.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let hermux = setup.port(taken).handing(tcp).handing(unix).start();
    assert_eq!(hermux.address(), address);
    assert_eq!(hermux.ask(&Request::chat(false)).status(), 200);
    let stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut caller = Line::over(stream);
    caller.send(Request::chat(false).bytes());
    assert!(caller.answer().0.starts_with("HTTP/1.1 200"));
    let said = hermux.wait_for_line("ready: ");
    assert!(said.contains(&format!("http://{address}, unix:")), "{said}");
    assert!(said.contains("from the service manager"), "{said}");
    let _setup = hermux.stop();
    assert!(path.exists(), "the file is the service manager's");
}

#[test]
fn who_connects_while_no_server_runs_is_served_by_the_next() {
    let upstream = Upstream::answering(chat);
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let setup = Setup::new(&upstream).handing(tcp);
    let mut early = Connection::open(address);
    early.send(Request::chat(false).bytes());
    let hermux = setup.start();
    assert_eq!(answer(&mut early).status(), 200);
    let setup = hermux.stop();
    let mut between = Connection::open(address);
    between.send(Request::chat(false).bytes());
    let _hermux = setup.start();
    assert_eq!(answer(&mut between).status(), 200);
}

#[test]
fn several_sockets_share_the_bound_on_connections() {
    let upstream = Upstream::never_called();
    let sockets: Vec<_> = (0..2).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let addresses: Vec<_> = sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
    let setup = Setup::new(&upstream).flag("--max-connections", "1").flag("--workers", "1");
    let _hermux = sockets.into_iter().fold(setup, Setup::handing).start();
    let ask = |at: usize| {
        let mut connection = Connection::open(addresses[at]);
        connection.send(Request::get("/health").bytes());
        connection
    };
    let mut first = ask(0);
    assert_eq!(answer(&mut first).status(), 200);
    let mut second = ask(1);
    assert_eq!(second.fill_within(std::time::Duration::from_millis(300)), None, "one too many was served");
    first.cut_fin();
    assert_eq!(answer(&mut second).status(), 200);
    second.cut_fin();
    // Neither socket starves.
    for at in [1, 0, 1, 0] {
        let mut next = ask(at);
        assert_eq!(answer(&mut next).status(), 200);
        next.cut_fin();
    }
}

#[test]
fn what_does_not_listen_is_refused_by_name() {
    let upstream = Upstream::never_called();
    let (status, said) =
        Setup::new(&upstream).handing(UdpSocket::bind("127.0.0.1:0").unwrap()).start_in_vain();
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.contains("no listening stream socket: callers"), "{said}");
    // A connection, as Accept=yes hands over.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connection = Connection::open(listener.local_addr().unwrap());
    let (_, said) = Setup::new(&upstream).handing(connection.stream().try_clone().unwrap()).start_in_vain();
    assert!(said.contains("Accept=no"), "{said}");
}

#[test]
fn no_auth_is_refused_on_a_socket_that_others_reach() {
    let upstream = Upstream::never_called();
    let everywhere = TcpListener::bind("0.0.0.0:0").unwrap();
    let (status, said) = Setup::new(&upstream).switch("--no-auth").handing(everywhere).start_in_vain();
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.contains("--no-auth") && said.contains("0.0.0.0:"), "{said}");
}

#[test]
fn variables_for_another_process_are_not_obeyed() {
    let upstream = Upstream::answering(chat);
    let setup = Setup::new(&upstream).variable("LISTEN_PID", "1").variable("LISTEN_FDS", "1");
    let hermux = setup.start();
    let said = eventually("it is ready", || hermux.lines().into_iter().find(|line| line.contains("ready: ")));
    assert!(!said.contains("service manager"), "{said}");
    assert_eq!(hermux.ask(&Request::chat(false)).status(), 200);
}

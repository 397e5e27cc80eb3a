//! The protocol's words, and a server with clients of all manners.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::PathBuf;
use std::{fs, thread};

use tokio::sync::mpsc;

use super::*;

fn target() -> Target {
    Target { pool: "web".into(), real: "db1".into() }
}

#[test]
fn requests_are_these_lines() {
    let rows = [
        (Request::Status, r#"{"version":1,"command":"status"}"#),
        (Request::Drain(target()), r#"{"version":1,"command":"drain","pool":"web","real":"db1"}"#),
        (Request::Undrain(target()), r#"{"version":1,"command":"undrain","pool":"web","real":"db1"}"#),
        (
            Request::Maintenance { target: target(), on: true },
            r#"{"version":1,"command":"maintenance","pool":"web","real":"db1","on":true}"#,
        ),
        (
            Request::Weight { target: target(), weight: Some(7) },
            r#"{"version":1,"command":"weight","pool":"web","real":"db1","weight":7}"#,
        ),
        (
            Request::Weight { target: target(), weight: None },
            r#"{"version":1,"command":"weight","pool":"web","real":"db1","weight":null}"#,
        ),
        (Request::Flows(target()), r#"{"version":1,"command":"flows","pool":"web","real":"db1"}"#),
        (Request::Reload, r#"{"version":1,"command":"reload"}"#),
        (Request::LogLevel { level: LogLevel::Debug }, r#"{"version":1,"command":"log-level","level":"debug"}"#),
    ];
    for (request, line) in rows {
        assert_eq!(request.encode(), line);
        assert_eq!(Request::decode(line.as_bytes()), Ok(request.clone()));
        // A later version's client may say more.
        let more = line.replacen('{', "{\"more\":[1],", 1);
        assert_eq!(Request::decode(more.as_bytes()), Ok(request));
    }
}

#[test]
fn what_is_no_request_is_answered_with_why() {
    let rows = [
        ("", FailureKind::Malformed),
        ("{}", FailureKind::Malformed),
        ("[1]", FailureKind::Malformed),
        (r#"{"version":2,"command":"status"}"#, FailureKind::Version),
        (r#"{"version":2,"verb":"what came later"}"#, FailureKind::Version),
        (r#"{"version":1,"command":"explode"}"#, FailureKind::Malformed),
        (r#"{"version":1,"command":"drain","pool":"web"}"#, FailureKind::Malformed),
        (r#"{"version":1,"command":"weight","pool":"web","real":"a","weight":-1}"#, FailureKind::Malformed),
        (r#"{"version":1,"command":"log-level","level":"loud"}"#, FailureKind::Malformed),
    ];
    for (line, kind) in rows {
        let failure = Request::decode(line.as_bytes()).expect_err(line);
        assert_eq!(failure.kind, kind, "{line}: {}", failure.message);
    }
    assert!(Request::decode(&[0xff, 0xfe]).is_err());
}

#[test]
fn responses_come_back_as_they_were() {
    let order = OrderReport {
        pool: "web".into(),
        real: "db1".into(),
        address: "10.0.0.1".into(),
        duty: "drain".into(),
        file_weight: 3,
        weight: None,
        changed: true,
    };
    let mut response = Response::new(Ok(Answer::Order(order)));
    response.warnings.push("it is not saved".into());
    assert_eq!(
        response.encode(),
        r#"{"version":1,"ok":{"kind":"order","pool":"web","real":"db1","address":"10.0.0.1","duty":"drain","file_weight":3,"weight":null,"changed":true},"warnings":["it is not saved"]}"#
    );
    assert_eq!(Response::decode(&response.encode()), Ok(response));
    let refused = Response::new(Err(Failure::new(FailureKind::Unknown, "no such pool")));
    assert_eq!(refused.encode(), r#"{"version":1,"error":{"kind":"unknown","message":"no such pool"},"warnings":[]}"#);
    assert_eq!(Response::decode(&refused.encode()), Ok(refused));
}

proptest::proptest! {
    #[test]
    fn no_line_makes_the_decoder_panic(line: Vec<u8>, cut in 0usize..80) {
        let _ = Request::decode(&line);
        let good = Request::Maintenance { target: target(), on: true }.encode();
        let _ = Request::decode(&good.as_bytes()[..cut.min(good.len())]);
    }
}

/// A directory of this test's own, gone when it is dropped.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("xdirector-control-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).expect("a temporary directory can be made");
        Self(dir)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("made/control.sock")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A daemon that says yes, and that the log level is what the pool's name has bytes; calls are looked at one by one.
async fn serve(mut calls: mpsc::Receiver<Call>) {
    while let Some(Call { request, who, reply }) = calls.recv().await {
        assert!(who.contains("pid"), "{who}");
        let answer = match request {
            Request::LogLevel { level } => Ok(Answer::LogLevel { level }),
            _ => Err(Failure::new(FailureKind::Refused, "not today")),
        };
        let _ = reply.send(Response::new(answer));
    }
}

/// A server in a thread of its own, until what comes back is dropped.
fn started(path: PathBuf) -> (std::sync::mpsc::Sender<()>, thread::JoinHandle<()>) {
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let thread = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let (sender, calls) = mpsc::channel(1);
            let _server = Server::start(&path, sender).expect("it listens");
            ready.send(()).expect("somebody waits");
            let stop = tokio::task::spawn_blocking(move || stopped.recv());
            tokio::select! {
                _ = stop => {}
                () = serve(calls) => {}
            }
        });
    });
    is_ready.recv().expect("it gets ready");
    (stop, thread)
}

fn ask(path: &std::path::Path, level: LogLevel) {
    let (answer, warnings) =
        Client::connect(path).expect("it listens").ask(&Request::LogLevel { level }).expect("it answers");
    assert_eq!((answer, warnings), (Answer::LogLevel { level }, Vec::new()));
}

#[test]
fn a_client_is_served_however_odd_the_others_are() {
    let place = Place::new("odd");
    let path = place.socket();
    let (stop, thread) = started(path.clone());
    assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o660);

    // Says nothing; says half a line; goes away after its request; says too much; takes no answers.
    let _silent = StdStream::connect(&path).expect("it listens");
    let mut half = StdStream::connect(&path).expect("it listens");
    half.write_all(b"{\"version\":1,").expect("it is taken");
    let mut gone = StdStream::connect(&path).expect("it listens");
    gone.write_all(b"{\"version\":1,\"command\":\"reload\"}\n").expect("it is taken");
    drop(gone);
    let mut deaf = StdStream::connect(&path).expect("it listens");
    deaf.write_all("{\"version\":1,\"command\":\"reload\"}\n".repeat(1000).as_bytes()).expect("it is taken");
    ask(&path, LogLevel::Debug);
    let mut long = StdStream::connect(&path).expect("it listens");
    // It may be cut off before it has said all.
    let _ = long.write_all(&[b'x'; 100_000]);
    let mut answer = String::new();
    let _ = BufReader::new(long).read_line(&mut answer);
    assert!(answer.is_empty() || answer.contains("a line of more than 16384 bytes"), "{answer}");

    // Two requests over one connection, one of them refused.
    let mut client = Client::connect(&path).expect("it listens");
    let refused = client.ask(&Request::Reload).expect_err("it says no");
    assert!(matches!(&refused, ClientError::Refused(failure) if failure.message == "not today"), "{refused}");
    assert!(client.ask(&Request::LogLevel { level: LogLevel::Warn }).is_ok());

    drop(stop);
    thread.join().expect("it ends");
    assert!(!path.exists(), "the socket was left");
    let absent = Client::connect(&path).expect_err("nobody listens");
    assert!(absent.to_string().starts_with("no daemon listens at "), "{absent}");
}

#[test]
fn when_there_is_no_room_a_client_is_told_so() {
    let place = Place::new("room");
    let path = place.socket();
    let (stop, thread) = started(path.clone());
    let crowd: Vec<StdStream> = (0..64).map(|_| StdStream::connect(&path).expect("it listens")).collect();
    let mut answer = String::new();
    StdStream::connect(&path).expect("it listens").read_to_string(&mut answer).expect("it is told");
    assert!(answer.contains("\"busy\""), "{answer}");
    drop(crowd);
    drop(stop);
    thread.join().expect("it ends");
}

#[test]
fn a_dead_daemons_socket_is_replaced_and_a_live_ones_is_not() {
    let place = Place::new("stale");
    let path = place.socket();
    fs::create_dir_all(path.parent().expect("it has one")).expect("it can be made");
    drop(StdListener::bind(&path).expect("it is free"));
    let (stop, thread) = started(path.clone());
    ask(&path, LogLevel::Info);

    let start = |path: PathBuf| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async { Server::start(&path, mpsc::channel(1).0).map(drop) })
    };
    let refused = start(path.clone()).expect_err("another listens");
    assert!(matches!(refused, ServerError::Taken(_)), "{refused}");
    ask(&path, LogLevel::Info);
    let file = place.0.join("file");
    fs::write(&file, "precious").expect("it can be written");
    let refused = start(file.clone()).expect_err("it is no socket");
    assert!(matches!(refused, ServerError::NoSocket(_)), "{refused}");
    assert_eq!(fs::read_to_string(&file).expect("it is there"), "precious");
    drop(stop);
    thread.join().expect("it ends");
}

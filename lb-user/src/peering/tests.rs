//! Channels over loopback: each director has an address of its own in 127.0.0.0/8.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::config::Secret;
use crate::state::{ToldPin, ToldReal, ToldService};

const DEADLINE: Duration = Duration::from_secs(20);
const KEY: &str = "correct horse battery staple";

/// Two addresses that no other test has, and a port that is free at both.
async fn seats() -> ([IpAddr; 2], u16) {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let process = (std::process::id() % 200) as u8 + 20;
    let address = |last| IpAddr::from(Ipv4Addr::new(127, process, number, last));
    let addresses = [address(1), address(2)];
    let free = TcpListener::bind((addresses[0], 0)).await.expect("loopback has ports");
    (addresses, free.local_addr().expect("it is bound").port())
}

fn config(listen: IpAddr, port: u16, key: &str) -> config::Peering {
    config::Peering { key: Secret::new(key.into()), port, listen: Some(listen) }
}

fn state(name: &str) -> State {
    State { name: name.into(), version: "0".into(), pins: 1024, seed: 7, rings: 9 }
}

fn start(own: IpAddr, other: IpAddr, port: u16, key: &str, state: State) -> Peering {
    Peering::start(&config(own, port, key), &[other], state)
}

fn batch(sets: std::ops::Range<u32>) -> Arc<Batch> {
    let vip = Ipv4Addr::new(10, 0, 0, 100).into();
    let pin = |set| ToldPin { set, print: 1, service: 0, real: 0, age: 0, confirmed: true, off_ring: true };
    Arc::new(Batch {
        services: vec![ToldService {
            vip,
            ports: (80, 80),
            protocol: 6,
            zone: lb_common::abi::Name::new(""),
            owners: 1,
        }],
        reals: vec![ToldReal { pool: "web".into(), address: Ipv4Addr::new(10, 0, 0, 1).into() }],
        pins: sets.map(pin).collect(),
    })
}

async fn next(peering: &mut Peering) -> Event {
    tokio::time::timeout(DEADLINE, peering.event()).await.expect("an event in time")
}

async fn connected(peering: &mut Peering) {
    let event = next(peering).await;
    assert!(matches!(event, Event::Connected(_)), "{event:?}");
}

async fn told(peering: &mut Peering) -> Batch {
    loop {
        match next(peering).await {
            Event::Pins(_, batch) => return batch,
            Event::Connected(_) => {}
            event @ Event::Question { .. } => panic!("{event:?}"),
        }
    }
}

/// Waits until the one other director is as it should be; events that come meanwhile are dropped.
async fn until(peering: &mut Peering, what: &str, is: impl Fn(&PeeringStatus) -> bool) -> PeeringStatus {
    let end = Instant::now() + DEADLINE;
    loop {
        let status = peering.status().remove(0);
        if is(&status) {
            return status;
        }
        assert!(Instant::now() < end, "{what}: {status:?}");
        let _ = timeout_at(Instant::now() + Duration::from_millis(5), peering.event()).await;
    }
}

#[tokio::test]
async fn two_directors_tell_each_other_in_order() {
    let ([a, b], port) = seats().await;
    let mut first = start(a, b, port, KEY, state("a"));
    let mut second = start(b, a, port, KEY, State { rings: 10, ..state("b") });
    connected(&mut first).await;
    assert!(first.listens(b) && first.has_listeners());
    for number in 0..20 {
        while !first.tell(b, &batch(number * 1000..number * 1000 + 1000)) {
            tokio::task::yield_now().await;
        }
    }
    for number in 0..20 {
        assert_eq!(told(&mut second).await, *batch(number * 1000..number * 1000 + 1000));
    }
    let status = until(&mut first, "all is sent", |status| status.pins_sent == 20_000).await;
    assert_eq!((status.peer, status.name.as_deref(), status.version.as_deref()), (b, Some("b"), Some("0")));
    assert_eq!((status.same_pins, status.same_seed, status.same_rings), (Some(true), Some(true), Some(false)));
    assert!(status.connected.is_some());
    let status = until(&mut second, "it hears", |status| status.heard.is_some()).await;
    assert_eq!((status.pins_received, status.pins_refused), (20_000, 0));
}

#[tokio::test]
async fn a_director_that_comes_back_is_connected_anew_and_has_to_be_told_everything() {
    let ([a, b], port) = seats().await;
    let mut first = start(a, b, port, KEY, state("a"));
    for _ in 0..3 {
        let mut second = start(b, a, port, KEY, state("b"));
        connected(&mut first).await;
        assert!(first.tell(b, &batch(0..5)));
        assert_eq!(told(&mut second).await, *batch(0..5));
        drop(second);
        let status = until(&mut first, "it is gone", |status| status.connected.is_none()).await;
        assert!(status.last_error.is_some());
        assert!(!first.tell(b, &batch(0..5)), "nobody is there");
    }
}

#[tokio::test]
async fn another_key_tells_nothing() {
    let ([a, b], port) = seats().await;
    let mut first = start(a, b, port, KEY, state("a"));
    let mut second = start(b, a, port, "correct horse battery stable", state("b"));
    for peering in [&mut first, &mut second] {
        let status = until(peering, "the handshake fails", |status| {
            status.last_error.as_ref().is_some_and(|error| error.contains("key"))
        });
        let status = status.await;
        assert_eq!((status.connected, status.heard, status.name), (None, None, None));
    }
    assert!(!first.tell(b, &batch(0..5)));
}

#[tokio::test]
async fn another_seed_is_seen_and_pins_are_refused_until_it_is_the_same() {
    let ([a, b], port) = seats().await;
    let mut first = start(a, b, port, KEY, state("a"));
    let mut second = start(b, a, port, KEY, State { seed: 8, ..state("b") });
    let status = until(&mut first, "they have met", |status| status.connected.is_some()).await;
    assert_eq!((status.same_seed, status.same_pins), (Some(false), Some(true)));
    assert!(!first.listens(b) && !first.tell(b, &batch(0..5)));
    second.introduce(state("b"));
    until(&mut first, "the seed is the same", |status| status.same_seed == Some(true)).await;
    assert!(first.tell(b, &batch(0..5)));
    assert_eq!(told(&mut second).await, *batch(0..5));
}

#[tokio::test]
async fn a_question_is_answered_by_the_others_daemon() {
    let ([a, b], port) = seats().await;
    let mut first = start(a, b, port, KEY, state("a"));
    let mut second = start(b, a, port, KEY, state("b"));
    let asker = first.asker();
    let real = IpAddr::from(Ipv4Addr::new(10, 0, 0, 1));
    let began = Instant::now();
    assert_eq!(asker.opinion("web", real, began + DEADLINE).await, [], "nobody is there, so nobody is waited for");
    connected(&mut first).await;
    let opinion = Opinion { verdict: Verdict::Down, age: Some(Duration::from_millis(40)) };
    let daemon = async {
        loop {
            if let Event::Question { pool, address, reply } = next(&mut second).await {
                assert_eq!((pool.as_str(), address), ("web", real));
                return reply.send(opinion);
            }
        }
    };
    let (opinions, replied) = tokio::join!(first.opinion("web", real, Instant::now() + DEADLINE), daemon);
    assert_eq!((opinions, replied), (vec![(b, opinion)], Ok(())));
    // A daemon that is busy costs the deadline and no more.
    let end = Instant::now() + Duration::from_millis(50);
    assert_eq!(asker.opinion("web", real, end).await, []);
    assert!(end.elapsed() < DEADLINE);
}

#[tokio::test]
async fn a_director_that_falls_silent_is_noticed() {
    let ([a, b], port) = seats().await;
    let mut first = start(a, b, port, KEY, state("a"));
    // It has the key, and says no more than it must.
    let silent = TcpListener::bind((b, port)).await.expect("the port is free");
    let psk = Psk::derive(&Secret::new(KEY.into()));
    let (stream, _) = silent.accept().await.expect("it is called");
    let (mut reader, mut writer) = secure::answer(stream, &psk).await.expect("they have the same key");
    assert!(matches!(reader.read().await, Ok(message::Message::State(_))));
    writer.write(&message::Message::State(state("b"))).await.expect("it listens");
    connected(&mut first).await;
    let began = Instant::now();
    until(&mut first, "it is taken for dead", |status| status.connected.is_none()).await;
    assert!(began.elapsed() >= SILENCE - PING, "{:?}", began.elapsed());
}

/// A connection from an address to the listening director.
async fn call(from: IpAddr, to: SocketAddr) -> TcpStream {
    let end = Instant::now() + DEADLINE;
    loop {
        let socket = tokio::net::TcpSocket::new_v4().expect("the system has sockets");
        socket.bind((from, 0).into()).expect("loopback has all of 127.0.0.0/8");
        match socket.connect(to).await {
            Ok(stream) => return stream,
            Err(error) => assert!(Instant::now() < end, "nobody listens: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What comes until the other end hangs up.
async fn all_that_comes(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("it hangs up in time");
    // Reset or closed: either will do.
    let _ = read;
    bytes
}

#[tokio::test]
async fn a_stranger_gets_nothing_and_keeps_nobody_out() {
    let ([a, b], port) = seats().await;
    let mut first = start(a, b, port, KEY, state("a"));
    let to = SocketAddr::new(a, port);
    // From elsewhere: not a byte, whatever it says.
    let elsewhere = Ipv4Addr::new(127, 9, 9, 9).into();
    assert_eq!(all_that_comes(call(elsewhere, to).await).await, [0u8; 0]);
    // From where a director is, without the key.
    let rows: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"xdp\x02",
        b"xdp\x01\xff\xff",
        &[b"xdp\x01\x00\x30".as_slice(), &[7; 48]].concat(),
        b"",
    ];
    for bytes in rows {
        let mut stream = call(b, to).await;
        stream.write_all(bytes).await.expect("it is connected");
        assert_eq!(all_that_comes(stream).await, [0u8; 0], "{bytes:?}");
    }
    // More who say nothing than may try at once; they are sent away after a while.
    let mut waiting = Vec::new();
    for _ in 0..PENDING_AND_MORE {
        waiting.push(call(b, to).await);
    }
    for stream in waiting {
        assert_eq!(all_that_comes(stream).await, [0u8; 0]);
    }
    let _second = start(b, a, port, KEY, state("b"));
    until(&mut first, "the true one is let in", |status| status.heard.is_some()).await;
}

const PENDING_AND_MORE: usize = 12;

/// Passes bytes both ways between the caller and the listener, with one bit of those of the caller flipped.
async fn with_a_flipped_bit(at: usize) -> Result<(), secure::ChannelError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has ports");
    let to = listener.local_addr().expect("it is bound");
    let psk = Psk::derive_quickly();
    let caller = async {
        let middle = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has ports");
        let stream = TcpStream::connect(middle.local_addr().expect("it is bound")).await.expect("it listens");
        let (inner, _) = middle.accept().await.expect("it was called");
        let outer = TcpStream::connect(to).await.expect("it listens");
        let (mut from_caller, mut to_caller) = inner.into_split();
        let (mut from_listener, mut to_listener) = outer.into_split();
        let there = async {
            let (mut sent, mut buffer) = (0, [0; 256]);
            while let Ok(length @ 1..) = from_caller.read(&mut buffer).await {
                if (sent..sent + length).contains(&(at / 8)) {
                    buffer[at / 8 - sent] ^= 1 << (at % 8);
                }
                sent += length;
                if to_listener.write_all(&buffer[..length]).await.is_err() {
                    break;
                }
            }
            drop(to_listener);
        };
        let back = async {
            let _ = tokio::io::copy(&mut from_listener, &mut to_caller).await;
            drop(to_caller);
        };
        let talk = async {
            if let Ok((_reader, mut writer)) = secure::call(stream, &psk).await {
                let _ = writer.write(&message::Message::Ping).await;
            }
        };
        tokio::join!(talk, there, back);
    };
    let answer = async {
        let (stream, _) = listener.accept().await.expect("it is called");
        let (mut reader, _writer) = secure::answer(stream, &psk).await?;
        reader.read().await.map(|message| assert_eq!(message, message::Message::Ping))
    };
    let both = async { tokio::join!(answer, caller).0 };
    tokio::time::timeout(DEADLINE, both).await.expect("neither hangs")
}

#[tokio::test]
async fn a_bit_flipped_on_the_way_is_noticed_wherever_it_is() {
    // Preface, two lengths, handshake, and a ping.
    let bits = (4 + 2 + 48 + 2 + 17) * 8;
    assert!(with_a_flipped_bit(usize::MAX - 7).await.is_ok(), "unharmed it gets through");
    // At least one bit of each byte.
    for bit in (0..bits).step_by(5) {
        assert!(with_a_flipped_bit(bit).await.is_err(), "bit {bit}");
    }
}

//! What clients' packets say of real servers: it makes checks ask, and no more than that.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tests::lab::{Director, Lab, Nginx, Plug, Topology, VIP, eventually};

use super::{SOON, file};

/// Of itself such a check asks far too seldom for what is to be seen here.
const INTERVAL: Duration = Duration::from_secs(60);
const CHECK: &str =
    "type = \"tcp\", interval = \"60s\", fast_interval = \"100ms\", timeout = \"1s\", rise = 1, fall = 3";
const REALS: u8 = 3;
/// A client's SYN is repeated after a second for the first time.
const CLIENTS: usize = 60;
/// For how long connections are reset, and how many at a time: several looks at the signs.
const FLOOD: Duration = Duration::from_secs(4);
const AT_ONCE: usize = 100;

fn start() -> Result<(Director, Vec<Nginx>, Lab)> {
    let lab = Lab::up(Topology::flat(REALS))?;
    let start = |(index, machine)| Nginx::start(&lab, machine, &format!("real{}", index + 1));
    let nginx = lab.reals.iter().enumerate().map(start).collect::<Result<Vec<_>>>()?;
    let director = Director::start(&lab, &file("", CHECK, "", REALS))?;
    for index in 1..=REALS {
        director.wait_for_state(&format!("real{index}"), "up")?;
    }
    Ok((director, nginx, lab))
}

/// A connection that is begun, and not waited for.
fn begin() -> Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    let to = SockAddr::from(std::net::SocketAddr::from((VIP, 80)));
    match socket.connect(&to) {
        Err(error) if error.raw_os_error() == Some(nix::libc::EINPROGRESS) => Ok(socket),
        other => other.map(|()| socket).map_err(Into::into),
    }
}

#[test]
fn one_that_answers_no_client_is_asked_long_before_its_check_is_due() -> Result<()> {
    let (director, _nginx, lab) = start()?;
    let begin_of_log = director.process.log().len();
    let started = Instant::now();
    lab.set_port("real2", Plug::Out)?;
    let _clients = lab.client.enter(|| (0..CLIENTS).map(|_| begin()).collect::<Result<Vec<_>>>())?;
    let log = || director.process.log().split_off(begin_of_log);
    let out = eventually(SOON, "real2 is down", || Ok(log().contains("web/real2 is down").then(|| started.elapsed())))?;
    println!("out of the ring {out:?} after it fell silent; its check asks every {INTERVAL:?} of itself");
    ensure!(!log().contains("real1 is") && !log().contains("real3 is") && !log().contains("HELD"), "{}", log());
    Ok(())
}

#[test]
fn a_flood_of_resets_has_questions_asked_and_takes_nobody_out() -> Result<()> {
    let (director, _nginx, lab) = start()?;
    director.ask(&["log-level", "debug"])?;
    let begin_of_log = director.process.log().len();
    let started = Instant::now();
    let resets = lab.client.enter(|| {
        let mut resets = 0;
        while started.elapsed() < FLOOD {
            let open = (0..AT_ONCE).map(|_| Ok(TcpStream::connect((VIP, 80))?)).collect::<Result<Vec<_>>>()?;
            for stream in open {
                // What is dropped ends with a reset.
                Socket::from(stream).set_linger(Some(Duration::ZERO))?;
                resets += 1;
            }
        }
        Ok(resets)
    })?;
    let log = director.process.log().split_off(begin_of_log);
    let asked = log.matches("clients seem to get no answer").count();
    println!("{resets} resets in {FLOOD:?}: {asked} suspicions");
    ensure!((1..=usize::from(REALS)).contains(&asked), "{asked} suspicions\n{log}");
    ensure!(!log.contains("is down") && !log.contains("HELD"), "{log}");
    for index in 1..=REALS {
        director.wait_for_state(&format!("real{index}"), "up")?;
    }
    Ok(())
}

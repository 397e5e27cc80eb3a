//! `icmp` against the kernel, and `agent` against what an agent may say.

use anyhow::{Result, ensure};
use lb_user::health::{Answer, Weight};
use tests::lab::{in_v6, real_address};

use super::{SOON, Ward, ask_from_here, check, stub};

#[test]
fn a_machine_that_is_there_echoes_and_one_that_is_not_does_not() -> Result<()> {
    let ward = Ward::new(1)?;
    let (here, nowhere) = (real_address(1), real_address(99));
    ward.is_up("type = \"icmp\"")?;
    ensure!(ward.ask_at(in_v6(here), "type = \"icmp\"")?.is_ok());
    for address in [nowhere.into(), std::net::IpAddr::V6(in_v6(nowhere))] {
        let failure = ward.ask_at(address, "type = \"icmp\", timeout = \"300ms\"")?;
        let silence = "no answer within 300ms, while waiting for the echo".to_owned();
        ensure!(failure == Err(silence), "{failure:?}");
    }
    ward.lab.reals[0].sysctl("net/ipv4/icmp_echo_ignore_all", "1")?;
    ward.is_down("type = \"icmp\", timeout = \"300ms\"", "no answer within 300ms")?;
    ward.lab.director.ip(&format!("route add unreachable {nowhere}/32"))?;
    let failure = ward.ask_at(nowhere, "type = \"icmp\"")?;
    ensure!(failure.as_ref().is_err_and(|failure| failure.contains("unreachable")), "{failure:?}");
    Ok(())
}

#[test]
fn a_daemon_without_the_right_to_raw_sockets_pings_as_a_user_may() -> Result<()> {
    let ward = Ward::new(1)?;
    ward.lab.director.sysctl("net/ipv4/ping_group_range", "0 0")?;
    let check = check("type = \"icmp\"")?;
    let outcomes = ward.lab.director.enter(|| {
        drop_raw_sockets()?;
        let ask = |address| ask_from_here(&check, address, SOON);
        Ok([ask(real_address(1).into())?, ask(in_v6(real_address(1)).into())?])
    })?;
    ensure!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    Ok(())
}

/// Takes CAP_NET_RAW from the calling thread, and from no other.
fn drop_raw_sockets() -> Result<()> {
    const CAP_NET_RAW: u32 = 13;
    // capability.h: the version of the interface that has 64 bits, and 0 for the calling thread.
    let header = [0x2008_0522_u32, 0];
    // Effective, permitted, inheritable: the lower halves, then the upper ones.
    let mut sets = [0_u32; 6];
    // SAFETY: the kernel writes two sets of three words, which is what there is.
    let read = unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()) };
    ensure!(read == 0, "capget: {}", std::io::Error::last_os_error());
    sets[0] &= !(1 << CAP_NET_RAW);
    // SAFETY: as above, and it only reads.
    let written = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) };
    ensure!(written == 0, "capset: {}", std::io::Error::last_os_error());
    Ok(())
}

#[test]
fn an_agent_says_up_down_drain_and_a_weight() -> Result<()> {
    let ward = Ward::new(1)?;
    let agent = "type = \"agent\", port = 9777, send = \"web\\n\", timeout = \"500ms\"";
    let says = |words: &[u8], expected: Result<Answer, &str>| {
        stub::with(&ward.lab.reals[0], 9777, words, || {
            let outcome = ward.ask(agent)?;
            ensure!(outcome == expected.map_err(String::from), "{outcome:?}");
            Ok(())
        })
    };
    says(b"up\n", Ok(Answer::default()))?;
    says(b"drain 25%\r\n", Ok(Answer { weight: Some(Weight::Percent(25)), drain: true }))?;
    says(b"down#no disk\n", Err("the agent says down: no disk"))?;
    says(b"up", Err("no answer within 500ms, while waiting for the agent's line"))?;
    ward.is_down(agent, "connection refused")
}

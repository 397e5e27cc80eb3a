//! `icmp` against the kernel, and `agent` against what an agent may say.

use anyhow::{Result, ensure};
use lb_user::health::{Answer, Weight};
use tests::lab::{in_v6, real_address};

use super::{Ward, stub};

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

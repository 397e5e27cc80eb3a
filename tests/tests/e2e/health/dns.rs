//! `dns`, and `udp`, against dnsmasq.

use anyhow::Result;
use tests::lab::{Process, real_address};

use super::Ward;

fn start(ward: &Ward) -> Result<Process> {
    let arguments = [
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--user=root",
        "--pid-file=",
        "--log-facility=-",
        "--local=/example.org/",
        "--host-record=www.example.org,192.0.2.1",
        "--mx-host=example.org,mail.example.org,10",
        "--txt-record=example.org,hello",
    ];
    let dnsmasq = ward.lab.spawn(&ward.lab.reals[0], "dnsmasq", "dnsmasq", &arguments)?;
    ward.comes_up(real_address(1), "type = \"tcp\", port = 53")?;
    Ok(dnsmasq)
}

#[test]
fn a_name_server_is_judged_by_code_and_records() -> Result<()> {
    let ward = Ward::new(1)?;
    let _dnsmasq = start(&ward)?;
    let dns = |rest: &str| format!("type = \"dns\", port = 53, {rest}");
    ward.is_up(&dns("name = \"www.example.org\""))?;
    ward.is_up(&dns("name = \"WWW.example.org.\", record = \"A\""))?;
    ward.is_up(&dns("name = \"example.org\", record = \"MX\""))?;
    ward.is_up(&dns("name = \"example.org\", record = \"TXT\""))?;
    ward.is_up(&dns("name = \"gone.example.org\", expect_rcode = \"NXDOMAIN\""))?;
    ward.is_up(&dns("name = \"www.example.com\", expect_rcode = \"REFUSED\""))?;
    let no_record = "there is no record for www.example.org. AAAA";
    ward.is_down(&dns("name = \"www.example.org\", record = \"AAAA\""), no_record)?;
    let gone = "the answer for gone.example.org. A is NXDOMAIN, expected NOERROR";
    ward.is_down(&dns("name = \"gone.example.org\""), gone)?;
    let refused = "the answer for www.example.com. A is REFUSED, expected NOERROR";
    ward.is_down(&dns("name = \"www.example.com\""), refused)?;
    let over_ipv6 = ward.ask_at(tests::lab::in_v6(real_address(1)), &dns("name = \"www.example.org\""))?;
    anyhow::ensure!(over_ipv6.is_ok(), "{over_ipv6:?}");
    ward.is_down("type = \"dns\", port = 54, name = \"www.example.org\"", "connection refused")
}

#[test]
fn a_datagram_is_answered_with_what_is_expected() -> Result<()> {
    let ward = Ward::new(1)?;
    let _dnsmasq = start(&ward)?;
    // A question for the A record of www.example.org, with the identifier 0x1234.
    let question = "12340100000100000000000003777777076578616d706c65036f72670000010001";
    let udp = |rest: &str| format!("type = \"udp\", port = 53, payload_hex = \"{question}\"{rest}");
    ward.is_up(&udp(""))?;
    // Its flags, and at the end 192.0.2.1.
    ward.is_up(&udp(r", expect = '(?s)^\x12\x34\x85\x80.*\xc0\x00\x02\x01$'"))?;
    ward.is_down(&udp(r", expect = '^\x43\x21'"), r#"the reply "\x124\x85\x80"#)?;
    // Too short to be a question: dnsmasq says nothing.
    let silence = "no answer within 300ms, while waiting for a reply";
    ward.is_down("type = \"udp\", port = 53, payload = 'a\\x00', timeout = \"300ms\"", silence)?;
    ward.is_down("type = \"udp\", port = 54, payload = \"a\"", "connection refused")
}

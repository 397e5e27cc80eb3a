//! Checks that travel as the traffic does, by the daemon: to the vip, in a frame to the real server's MAC.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use aya::programs::{SchedClassifier, TcAttachType};
use nix::sys::signal::Signal;
use rcgen::{CertificateParams, KeyPair};
use tests::lab::{
    DIRECTOR, Director, Lab, Mariadb, Namespace, Nginx, Process, Topology, VIP, VIP_6, binary, eventually, in_v6,
    output, real_address,
};

use super::{SOON, stub};

/// A pool of the first two real servers, and a service of it.
struct Case {
    name: &'static str,
    vip: IpAddr,
    protocol: &'static str,
    port: u16,
    /// What is between the braces of `check = { … }`, beside `via` and times.
    check: String,
}

impl Case {
    fn new(name: &'static str, vip: impl Into<IpAddr>, port: u16, check: &str) -> Self {
        Self { name, vip: vip.into(), protocol: "tcp", port, check: check.into() }
    }

    fn udp(self) -> Self {
        Self { protocol: "udp", ..self }
    }

    fn write(&self, via: &str) -> String {
        let Self { name, vip, protocol, port, check } = self;
        let real = |index: u8| -> IpAddr {
            if vip.is_ipv4() { real_address(index).into() } else { in_v6(real_address(index)).into() }
        };
        let reals = [1, 2]
            .map(|index| format!("[[pool.{name}.real]]\nname = \"{name}{index}\"\naddress = \"{}\"\n", real(index)));
        format!(
            "[pool.{name}]\ncheck = {{ {check}, via = \"{via}\", interval = \"200ms\", timeout = \"2s\", rise = 1, \
             fall = 2 }}\n{}[[service]]\nname = \"{name}\"\nvip = \"{vip}\"\nport = {port}\nprotocol = \"{protocol}\"\n\
             pool = \"{name}\"\n",
            reals.concat()
        )
    }
}

fn write(cases: &[Case], via: &str) -> String {
    let cases: String = cases.iter().map(|case| case.write(via)).collect();
    format!("[limits]\nring_buckets = 65536\n{cases}")
}

/// Waits until real servers, by their names, are in this state.
fn wait_for(director: &Director, names: &[&str], state: &str) -> Result<()> {
    let found = || {
        let stats = director.stats()?;
        let services = stats["services"].as_array().context("the stats have no services")?.clone();
        let reals = services.iter().flat_map(|service| service["reals"].as_array().cloned().unwrap_or_default());
        let (rows, wrong): (Vec<_>, Vec<_>) =
            reals.filter(|row| names.iter().any(|name| row["name"] == *name)).partition(|row| row["state"] == state);
        ensure!(wrong.is_empty() && rows.len() == names.len(), "{wrong:?}");
        Ok(Some(()))
    };
    eventually(SOON, &format!("{names:?} are {state}"), found).with_context(|| director.process.log())
}

fn vip(machine: &Namespace, verb: &str) -> Result<()> {
    machine.ip(&format!("address {verb} {VIP}/32 dev lo"))?;
    machine.ip(&format!("address {verb} {VIP_6}/128 dev lo{}", if verb == "add" { " nodad" } else { "" }))
}

fn two_web_servers(lab: &Lab) -> Result<[Nginx; 2]> {
    Ok([Nginx::start(lab, &lab.reals[0], "real1")?, Nginx::start(lab, &lab.reals[1], "real2")?])
}

#[test]
fn a_real_server_without_the_vip_is_down_by_the_vip_and_up_by_its_own_address() -> Result<()> {
    let lab = Lab::up(Topology::flat(2))?;
    let _nginx = two_web_servers(&lab)?;
    vip(&lab.reals[1], "del")?;
    let cases = [
        Case::new("web", VIP, 80, "type = \"http\", path = \"/big\", expect_body = \"xxx$\""),
        Case::new("six", VIP_6, 80, "type = \"tcp\""),
    ];
    let mut director = Director::start(&lab, &write(&cases, "vip"))?;
    wait_for(&director, &["web1", "six1"], "up")?;
    wait_for(&director, &["web2", "six2"], "down")?;
    ensure!(director.reason("probe-answer")? > 0);
    director.reload(&lab, &write(&cases, "real"))?;
    wait_for(&director, &["web1", "web2", "six1", "six2"], "up")?;
    director.reload(&lab, &write(&cases, "vip"))?;
    wait_for(&director, &["web2", "six2"], "down")?;
    vip(&lab.reals[1], "add")?;
    wait_for(&director, &["web1", "web2", "six1", "six2"], "up")?;
    vip(&lab.reals[0], "del")?;
    wait_for(&director, &["web1", "six1"], "down")?;
    wait_for(&director, &["web2", "six2"], "up")
}

fn nginx(lab: &Lab, real: usize, http: &str) -> Result<Process> {
    nginx_in(lab, &lab.reals[real], &format!("only{}", real + 1), http)
}

/// nginx with only this in its `http` section.
fn nginx_in(lab: &Lab, machine: &Namespace, name: &str, http: &str) -> Result<Process> {
    let dir = lab.directory().display();
    let text = format!(
        "daemon off; worker_processes 1; user root; pid {dir}/{name}.pid; error_log stderr;\nevents {{ }}\nhttp {{\n  \
         access_log off; client_body_temp_path {dir}/{name}-a; proxy_temp_path {dir}/{name}-b;\n  \
         fastcgi_temp_path {dir}/{name}-c; uwsgi_temp_path {dir}/{name}-d; scgi_temp_path {dir}/{name}-e;\n  {http}\n}}\n"
    );
    let config = lab.directory().join(format!("{name}.conf"));
    fs::write(&config, text)?;
    let config = config.to_string_lossy().into_owned();
    lab.spawn(machine, name, "nginx", &["-e", "stderr", "-c", &config])
}

#[test]
fn a_service_that_listens_at_the_vip_only_is_up() -> Result<()> {
    let lab = Lab::up(Topology::flat(2))?;
    let server = format!("server {{ listen {VIP}:8080; location / {{ return 200 'I am $host'; }} }}");
    let _nginx = [nginx(&lab, 0, &server)?, nginx(&lab, 1, &server)?];
    let check = format!("type = \"http\", expect_body = \"^I am {VIP}$\"");
    let cases = [Case::new("web", VIP, 8080, &check)];
    let mut director = Director::start(&lab, &write(&cases, "vip"))?;
    wait_for(&director, &["web1", "web2"], "up")?;
    director.reload(&lab, &write(&cases, "real"))?;
    let refused = || Ok(director.process.log().contains("port 8080: connection refused").then_some(()));
    eventually(SOON, "the real server's own address refuses", refused).with_context(|| director.process.log())
}

/// A certificate that fills some segments, and its key.
fn large_certificate(dir: &Path, name: &str) -> Result<()> {
    let key = KeyPair::generate()?;
    let names: Vec<String> = (0..300).map(|number| format!("a-name-of-some-length-{number}.example.org")).collect();
    let certificate = CertificateParams::new(names)?.self_signed(&key)?;
    fs::write(dir.join(format!("{name}.pem")), certificate.pem())?;
    Ok(fs::write(dir.join(format!("{name}.key")), key.serialize_pem())?)
}

fn dnsmasq(lab: &Lab, real: usize) -> Result<Process> {
    let arguments = [
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--user=root",
        "--pid-file=",
        "--log-facility=-",
        "--local=/example.org/",
        "--host-record=www.example.org,192.0.2.1,2001:db8::1",
    ];
    lab.spawn(&lab.reals[real], &format!("dnsmasq{real}"), "dnsmasq", &arguments)
}

fn redis(lab: &Lab, real: usize) -> Result<Process> {
    let dir = lab.directory().join(format!("redis{real}"));
    fs::create_dir_all(&dir)?;
    let dir = dir.to_string_lossy().into_owned();
    let arguments = ["--port", "6379", "--bind", "*", "--protected-mode", "no", "--save", "", "--dir", &dir];
    lab.spawn(&lab.reals[real], &format!("redis{real}"), "redis-server", &arguments)
}

/// The director's frames have checksums that its network card is to finish, and leave as segments that it is to cut; who
/// carries them to the first real server does both, and the real server looks whether it was done right.
fn leave_work_to_the_network_card(lab: &Lab) -> Result<()> {
    output(lab.director.command("ethtool").args(["-K", "eth0", "tx", "on", "tso", "on"]))?;
    lab.finish_checksums_to("real1")
}

#[test]
fn every_type_of_check_that_has_a_socket_goes_by_the_vip() -> Result<()> {
    let lab = Lab::up(Topology::flat(2))?;
    let dir = lab.directory();
    large_certificate(dir, "server")?;
    large_certificate(dir, "client")?;
    let mut servers = Vec::new();
    let mut databases = Vec::new();
    for real in 0..2 {
        let server = format!(
            "server {{ listen 80; listen [::]:80; listen 443 ssl; large_client_header_buffers 4 16k;\n\
             ssl_certificate {0}/server.pem; ssl_certificate_key {0}/server.key; ssl_client_certificate {0}/client.pem;\n\
             ssl_verify_client optional; location / {{ return 200 'you are $ssl_client_verify'; }} }}",
            dir.display()
        );
        servers.push(nginx(&lab, real, &server)?);
        servers.push(dnsmasq(&lab, real)?);
        servers.push(redis(&lab, real)?);
        databases.push(Mariadb::start(&lab, real as u8 + 1)?);
    }
    leave_work_to_the_network_card(&lab)?;
    let https = format!(
        "type = \"https\", verify = false, client_cert = \"{0}/client.pem\", client_key = \"{0}/client.key\", \
         path = \"/{1}\", expect_body = \"you are SUCCESS\"",
        dir.display(),
        "long".repeat(2000)
    );
    let question = "12340100000100000000000003777777076578616d706c65036f72670000010001";
    let login = "user = \"probe\", password = \"geheim\", role = \"primary\"";
    let cases = [
        Case::new("tcp", VIP, 80, "type = \"tcp\""),
        Case::new("tcpsix", VIP_6, 80, "type = \"http\""),
        Case::new("https", VIP, 443, &https),
        Case::new("greeting", VIP, 3306, "type = \"mysql\""),
        Case::new("login", VIP, 3307, &format!("type = \"mysql\", port = 3306, {login}")),
        Case::new("redis", VIP, 6379, "type = \"redis\", role = \"master\""),
        Case::new("dns", VIP, 53, "type = \"dns\", name = \"www.example.org\"").udp(),
        Case::new("dnssix", VIP_6, 53, "type = \"dns\", name = \"www.example.org\", record = \"AAAA\"").udp(),
        Case::new("udp", VIP, 54, &format!("type = \"udp\", port = 53, payload_hex = \"{question}\"")).udp(),
        Case::new("icmp", VIP, 8000, "type = \"icmp\""),
        Case::new("icmpsix", VIP_6, 8000, "type = \"icmp\""),
    ];
    let config = write(&cases, "vip");
    let director = Director::start(&lab, &config)?;
    let names = |index: u8| cases.iter().map(|case| format!("{}{index}", case.name)).collect::<Vec<_>>();
    let (first, second) = (names(1), names(2));
    let all: Vec<&str> = first.iter().chain(&second).map(String::as_str).collect();
    wait_for(&director, &all, "up")?;
    vip(&lab.reals[0], "del")?;
    wait_for(&director, &first.iter().map(String::as_str).collect::<Vec<_>>(), "down")?;
    wait_for(&director, &second.iter().map(String::as_str).collect::<Vec<_>>(), "up")?;
    vip(&lab.reals[0], "add")?;
    wait_for(&director, &all, "up")?;
    let aborted = databases[1].sql("SHOW GLOBAL STATUS LIKE 'Aborted_clients'")?;
    ensure!(aborted.split_whitespace().last() == Some("0"), "{aborted}");
    Ok(())
}

#[test]
fn an_agent_is_asked_at_the_vip() -> Result<()> {
    let lab = Lab::up(Topology::flat(2))?;
    let cases = [Case::new("web", VIP, 80, "type = \"agent\", port = 9777")];
    stub::with(&lab.reals[0], 9777, b"up\n", || {
        let director = Director::start(&lab, &write(&cases, "vip"))?;
        wait_for(&director, &["web1"], "up")?;
        wait_for(&director, &["web2"], "down")
    })
}

/// Waits until so many programs are on the way out of the director's interface: the kernel takes one off a little later than
/// its pin.
fn egress_is(lab: &Lab, expected: usize, why: &str) -> Result<()> {
    let count = || lab.director.enter(|| Ok(SchedClassifier::query_tcx("eth0", TcAttachType::Egress)?.1.len()));
    eventually(SOON, why, || Ok((count()? == expected).then_some(())))
}

#[test]
fn what_probes_need_on_the_way_out_survives_a_crash_and_goes_with_the_last_check_or_the_daemon() -> Result<()> {
    let lab = Lab::up(Topology::flat(2))?;
    let _nginx = two_web_servers(&lab)?;
    let cases = [Case::new("web", VIP, 80, "type = \"tcp\"")];
    let mut director = Director::start(&lab, &write(&cases, "real"))?;
    egress_is(&lab, 0, "no check goes by a vip")?;
    director.reload(&lab, &write(&cases, "vip"))?;
    egress_is(&lab, 1, "a check goes by a vip")?;
    director.process.stop(Signal::SIGKILL)?;
    egress_is(&lab, 1, "it stays when the daemon is killed")?;
    director.start_again(&lab)?;
    egress_is(&lab, 1, "the next daemon takes it over")?;
    wait_for(&director, &["web1", "web2"], "up")?;
    vip(&lab.reals[1], "del")?;
    wait_for(&director, &["web2"], "down")?;
    director.reload(&lab, &write(&cases, "real"))?;
    egress_is(&lab, 0, "no check goes by a vip any more")?;
    director.reload(&lab, &write(&cases, "vip"))?;
    egress_is(&lab, 1, "a check goes by a vip again")?;
    director.process.stop(Signal::SIGKILL)?;
    output(Command::new(binary()).arg("detach").arg("--config").arg(&director.config))?;
    egress_is(&lab, 0, "detach takes it off")?;
    director.start_again(&lab)?;
    director.process.stop(Signal::SIGTERM)?;
    egress_is(&lab, 0, "the daemon takes it off")
}

#[test]
fn a_real_server_that_is_the_director_itself_is_asked_at_the_vip_here() -> Result<()> {
    let lab = Lab::up(Topology::flat(1))?;
    let _there = Nginx::start_on(&lab, &lab.reals[0], "real1", &[8080])?;
    let case = Case::new("web", VIP, 8080, "type = \"http\"");
    let config = write(&[case], "vip").replace(&real_address(2).to_string(), &DIRECTOR.to_string());
    let director = Director::start(&lab, &config)?;
    wait_for(&director, &["web1"], "up")?;
    wait_for(&director, &["web2"], "down")?;
    // At the vip and nowhere else.
    let server = format!("server {{ listen {VIP}:8080; location / {{ return 200 'here'; }} }}");
    let _here = nginx_in(&lab, &lab.director, "here", &server)?;
    wait_for(&director, &["web1", "web2"], "up")
}

//! FRR's vrrpd, in the lab, without FRR's services: zebra and vrrpd with sockets and pid files of their own.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::{INTERFACE, Lab, Namespace, Process, Router, eventually, write_file};

/// How long anything that it does at once may take on a busy machine.
const SOON: Duration = Duration::from_secs(10);

/// A running vrrpd, and the zebra that tells it of interfaces. The vips are on a macvlan that is made for them.
#[derive(Debug)]
pub struct Frr {
    vrrpd: Process,
    zebra: Process,
}

impl Frr {
    /// Runs it with one virtual router of version 3 over IPv4, without passwords: it knows none.
    ///
    /// # Errors
    /// If it cannot be that, or does not start; quotes its log.
    pub fn start(lab: &Lab, machine: &Namespace, name: &str, routers: &[Router]) -> Result<Self> {
        let [router] = routers else { bail!("one virtual router is enough") };
        let Router { vrid, version, priority, interval, vips, .. } = router;
        make_macvlan(machine, *vrid, vips)?;
        // They run as a user of their own.
        let directory = lab.directory().join(format!("{name}-frr"));
        fs::create_dir_all(&directory)?;
        fs::set_permissions(lab.directory(), Permissions::from_mode(0o755))?;
        fs::set_permissions(&directory, Permissions::from_mode(0o777))?;
        let addresses = vips.iter().map(|vip| vip.split('/').next().unwrap_or(vip));
        let addresses: String = addresses.map(|address| format!(" vrrp {vrid} ip {address}\n")).collect();
        let preempt = if router.preempt { "" } else { "no " };
        let text = format!(
            "interface {INTERFACE}\n vrrp {vrid} version {version}\n vrrp {vrid} priority {priority}\n \
             vrrp {vrid} advertisement-interval {}\n {preempt}vrrp {vrid} preempt\n{addresses}",
            interval.as_millis(),
        );
        let empty = write_file(&directory, "zebra.conf", "")?;
        let config = write_file(&directory, "vrrpd.conf", &text)?;
        let path = |what: &str| directory.join(what).to_string_lossy().into_owned();
        let (zserv, sockets) = (path("zserv.api"), path(""));
        let spawn = |daemon: &str, config: &std::path::Path| {
            let (pid, config) = (path(&format!("{daemon}.pid")), config.to_string_lossy().into_owned());
            let arguments = ["-i", &pid, "-z", &zserv, "--vty_socket", &sockets, "-f", &config, "--log", "stdout"];
            lab.spawn(machine, &format!("{name}-{daemon}"), &format!("/usr/lib/frr/{daemon}"), &arguments)
        };
        // One that was killed leaves its socket behind.
        fs::remove_file(&zserv).ok();
        let zebra = spawn("zebra", &empty)?;
        let listens = || Ok(directory.join("zserv.api").exists().then_some(()));
        eventually(SOON, "zebra listens", listens).with_context(|| zebra.log())?;
        Ok(Self { vrrpd: spawn("vrrpd", &config)?, zebra })
    }

    /// What vrrpd has printed.
    pub fn log(&self) -> String {
        self.vrrpd.log()
    }

    /// Ends both, one after the other.
    ///
    /// # Errors
    /// If they do not end.
    pub fn stop(&mut self, signal: Signal) -> Result<()> {
        self.vrrpd.stop(signal)?;
        self.zebra.stop(Signal::SIGKILL).map(drop)
    }

    /// Sends both a signal.
    ///
    /// # Errors
    /// If they are no more.
    pub fn signal_both(&self, signal: Signal) -> Result<()> {
        self.vrrpd.signal(signal)?;
        self.zebra.signal(signal)
    }

    /// The processes.
    pub fn pids(&self) -> Vec<Pid> {
        vec![self.vrrpd.pid(), self.zebra.pid()]
    }
}

/// The device that vrrpd finds by its MAC and turns on and off. Only it may answer for the vips.
fn make_macvlan(machine: &Namespace, vrid: u8, vips: &[String]) -> Result<()> {
    let device = format!("vrrp4-{vrid}");
    machine.sysctl("net/ipv4/conf/all/arp_ignore", "1")?;
    machine.sysctl("net/ipv4/conf/all/arp_announce", "2")?;
    if machine.ip(&format!("link show {device}")).is_ok() {
        return Ok(());
    }
    machine.ip(&format!("link add {device} link {INTERFACE} type macvlan mode bridge"))?;
    machine.ip(&format!("link set {device} address 00:00:5e:00:01:{vrid:02x}"))?;
    for vip in vips {
        let address = vip.split('/').next().unwrap_or(vip);
        machine.ip(&format!("address add {address}/32 dev {device}"))?;
    }
    machine.ip(&format!("link set {device} up"))
}

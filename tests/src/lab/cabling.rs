//! Cables, switches and addresses.

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result};
use aya::programs::XdpMode;
use aya::programs::links::FdLink;
use lb_user::config::Limits;
use lb_user::dataplane::Kernel;

use super::command::run;
use super::{
    CLIENT, DIRECTOR, FAR_INTERFACE, INTERFACE, Lab, Namespace, ROUTER, VIP, VIP_6, far_address, in_v6, mac_of,
    real_address,
};
use crate::fixture;

/// The router's address on the far segment.
const FAR_ROUTER: Ipv4Addr = Ipv4Addr::new(10, 68, 0, 1);
/// The director's.
const FAR_DIRECTOR: Ipv4Addr = Ipv4Addr::new(10, 68, 0, 2);

/// The switch of a segment.
#[derive(Clone, Copy, Debug)]
enum Switch {
    Near,
    Far,
}

impl Switch {
    const fn name(self) -> &'static str {
        match self {
            Self::Near => "br0",
            Self::Far => "br1",
        }
    }
}

/// Whether a cable is in its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plug {
    /// It is.
    In,
    /// It is not.
    Out,
}

impl Plug {
    const fn word(self) -> &'static str {
        match self {
            Self::In => "up",
            Self::Out => "down",
        }
    }
}

impl Lab {
    pub(super) fn build(&self) -> Result<()> {
        self.switch_on(Switch::Near)?;
        match (&self.router, self.topology.router) {
            (Some(router), Some(mtu)) => self.route_client(router, mtu)?,
            _ => self.plug(&self.client, "client", CLIENT)?,
        }
        self.plug(&self.director, "director", DIRECTOR)?;
        if !self.topology.floating {
            // Nobody moves the vips: the director simply has them, and so answers ARP for them. Over IPv6 the vip is deprecated at
            // once, or it would be the source of the director's own probes, which the real servers would answer to themselves.
            self.director.ip(&format!("address add {VIP}/32 dev {INTERFACE}"))?;
            self.director.ip(&format!("address add {VIP_6}/128 dev {INTERFACE} nodad preferred_lft 0"))?;
        }
        self.let_transmitted_frames_arrive("director")?;
        match (&self.router, self.topology.far) {
            (Some(router), Some(mtu)) => self.build_far(router, mtu),
            _ => self.build_near(),
        }
    }

    fn build_near(&self) -> Result<()> {
        for (index, real) in (1..).zip(&self.reals) {
            self.plug(real, &format!("real{index}"), real_address(index))?;
            hold_vip(real)?;
        }
        if self.router.is_some() {
            for machine in self.reals.iter().chain([&self.director]) {
                route_by(machine, ROUTER)?;
            }
        }
        Ok(())
    }

    /// The real servers' own segment. The router takes their answers to the client.
    fn build_far(&self, router: &Namespace, mtu: u16) -> Result<()> {
        self.switch_on(Switch::Far)?;
        let far = |machine: &Namespace, interface: &str, port: &str, address| {
            self.connect(machine, interface, Switch::Far, port, address)
        };
        self.plug(router, "router", ROUTER)?;
        far(router, "far", "router-far", FAR_ROUTER)?;
        forward(router)?;
        far(&self.director, FAR_INTERFACE, "director-far", FAR_DIRECTOR)?;
        self.director.ip(&format!("link set {FAR_INTERFACE} mtu {mtu}"))?;
        self.let_transmitted_frames_arrive("director-far")?;
        for (index, real) in (1..).zip(&self.reals) {
            far(real, INTERFACE, &format!("real{index}"), far_address(index))?;
            hold_vip(real)?;
            route_by(real, FAR_ROUTER)?;
        }
        Ok(())
    }

    /// One more machine on the client's segment that has the vips as a real server does. It goes with the lab.
    ///
    /// # Errors
    /// If a command fails.
    pub fn add_real_server(&self, name: &str, address: Ipv4Addr) -> Result<Namespace> {
        let machine = self.teardown.namespace(name)?;
        self.plug(&machine, name, address)?;
        hold_vip(&machine)?;
        Ok(machine)
    }

    /// One more machine that a director can run on, and that is a real server too.
    ///
    /// # Errors
    /// If a command fails.
    pub fn add_director(&self, name: &str, address: Ipv4Addr) -> Result<Namespace> {
        let machine = self.add_real_server(name, address)?;
        self.let_transmitted_frames_arrive(name)?;
        Ok(machine)
    }

    /// A machine beside the first director that another one can run on, and that is nothing else.
    pub(super) fn add_partner(&self, name: &str, address: Ipv4Addr) -> Result<Namespace> {
        let machine = self.teardown.namespace(name)?;
        self.plug(&machine, name, address)?;
        self.let_transmitted_frames_arrive(name)?;
        Ok(machine)
    }

    /// A cable between two machines that passes no switch: interface [`FAR_INTERFACE`] of both, with these last numbers in
    /// 10.69.0.0/24 and fd69::/64.
    pub(super) fn join(&self, machines: [(&Namespace, u8); 2]) -> Result<()> {
        let [(one, _), (other, _)] = machines;
        one.ip(&format!("link add {FAR_INTERFACE} type veth peer name {FAR_INTERFACE} netns {}", other.name()))?;
        for (machine, last) in machines {
            let address = Ipv4Addr::new(10, 69, 0, last);
            machine.ip(&format!("address add {address}/24 dev {FAR_INTERFACE}"))?;
            machine.ip(&format!("address add {}/64 dev {FAR_INTERFACE} nodad", in_v6(address)))?;
            machine.ip(&format!("link set {FAR_INTERFACE} up"))?;
        }
        Ok(())
    }

    /// Tells the switch something of a port: `ip link set PORT WHAT`.
    pub(super) fn tell_port(&self, port: &str, what: &str) -> Result<()> {
        self.bridge.ip(&format!("link set {port} {what}"))
    }

    /// Where the switch is: sockets there see every frame at the port that it comes in by.
    pub(super) fn switch(&self) -> &Namespace {
        &self.bridge
    }

    /// From now on frames reach the director with their VLAN tags in them, as from a network card without offloads.
    ///
    /// # Errors
    /// If the switch's port does not let itself be told.
    pub fn keep_tags_in_frames(&self) -> Result<()> {
        let features = ["txvlan", "off", "tx-vlan-stag-hw-insert", "off"];
        run(self.bridge.command("ethtool").args(["-K", "director"]).args(features))
    }

    /// From now on what goes to the machine at this port of the switch has its checksums finished and its segments cut by the
    /// port, as by a network card; else they reach it as they were born.
    ///
    /// # Errors
    /// If the port does not let itself be told.
    pub fn finish_checksums_to(&self, port: &str) -> Result<()> {
        run(self.bridge.command("ethtool").args(["-K", port, "tx", "off", "tso", "off"]))
    }

    /// Plugs a machine's cable out of the switch of the client's segment, or in again. Its port is named after it.
    ///
    /// # Errors
    /// If there is no such port.
    pub fn set_port(&self, port: &str, plug: Plug) -> Result<()> {
        self.bridge.ip(&format!("link set {port} {}", plug.word()))
    }

    fn switch_on(&self, switch: Switch) -> Result<()> {
        let name = switch.name();
        // A firewall of the host, where there is one, has no say in a switch.
        if Path::new("/proc/sys/net/bridge").exists() {
            self.bridge.sysctl("net/bridge/bridge-nf-call-iptables", "0")?;
            self.bridge.sysctl("net/bridge/bridge-nf-call-ip6tables", "0")?;
        }
        self.bridge.ip(&format!("link add {name} type bridge forward_delay 0"))?;
        self.bridge.ip(&format!("link set {name} up"))
    }

    /// Client, link, router, switch. The link's MTU is the router's: what is too long for it comes to the router first.
    fn route_client(&self, router: &Namespace, mtu: u16) -> Result<()> {
        self.plug(router, "router", ROUTER)?;
        forward(router)?;
        let (client, there) = (&self.client, router.name());
        client.ip(&format!("link add {INTERFACE} type veth peer name far netns {there}"))?;
        run(client.command("ethtool").args(["-K", INTERFACE, "tx", "off"]))?;
        for (machine, interface, last) in [(client, INTERFACE, 10), (router, "far", 1)] {
            machine.ip(&format!("address add 10.67.0.{last}/24 dev {interface}"))?;
            machine.ip(&format!("address add fd67::{last}/64 dev {interface} nodad"))?;
            machine.ip(&format!("link set {interface} up"))?;
        }
        router.ip(&format!("link set far mtu {mtu}"))?;
        client.ip("link set lo up")?;
        route_by(client, Ipv4Addr::new(10, 67, 0, 1))
    }

    /// A cable from a machine to the switch of the client's segment.
    fn plug(&self, machine: &Namespace, port: &str, address: Ipv4Addr) -> Result<()> {
        self.connect(machine, INTERFACE, Switch::Near, port, address)
    }

    fn connect(
        &self,
        machine: &Namespace,
        interface: &str,
        switch: Switch,
        port: &str,
        address: Ipv4Addr,
    ) -> Result<()> {
        let (there, mac) = (self.bridge.name(), mac_of(address));
        machine.ip(&format!("link add {interface} address {mac} type veth peer name {port} netns {there}"))?;
        self.bridge.ip(&format!("link set {port} master {} up", switch.name()))?;
        machine.ip("link set lo up")?;
        // Frames born on a veth carry unfinished checksums, and after XDP_TX nobody finishes them.
        run(machine.command("ethtool").args(["-K", interface, "tx", "off"]))?;
        machine.ip(&format!("address add {address}/24 dev {interface}"))?;
        machine.ip(&format!("address add {}/64 dev {interface} nodad", in_v6(address)))?;
        machine.ip(&format!("link set {interface} up"))
    }

    /// XDP_TX and XDP_REDIRECT on a veth deliver only if the peer runs an XDP program too.
    fn let_transmitted_frames_arrive(&self, port: &str) -> Result<()> {
        let limits = Limits { services: 1, reals: 1, ring_buckets: 251, pins: 1024, access_prefixes: 1 };
        let pin = self.teardown.pin(&format!("pass-{port}"))?;
        self.bridge.enter(move || {
            let mut kernel = Kernel::load_unpinned(&fixture::bench_object()?, &limits)?;
            let program = kernel.program("pass")?;
            let link = program.attach(port, XdpMode::Driver)?;
            let link: FdLink = program.take_link(link)?.try_into()?;
            link.pin(&pin).context("cannot pin the link of the switch's port")?;
            Ok(())
        })
    }
}

/// The vips on the loopback, without ARP.
fn hold_vip(machine: &Namespace) -> Result<()> {
    machine.sysctl("net/ipv4/conf/all/arp_ignore", "1")?;
    machine.sysctl("net/ipv4/conf/all/arp_announce", "2")?;
    machine.ip(&format!("address add {VIP}/32 dev lo"))?;
    machine.ip(&format!("address add {VIP_6}/128 dev lo nodad"))
}

fn forward(router: &Namespace) -> Result<()> {
    router.sysctl("net/ipv4/ip_forward", "1")?;
    router.sysctl("net/ipv6/conf/all/forwarding", "1")
}

fn route_by(machine: &Namespace, router: Ipv4Addr) -> Result<()> {
    machine.ip(&format!("route add default via {router}"))?;
    machine.ip(&format!("route add default via {}", in_v6(router)))
}

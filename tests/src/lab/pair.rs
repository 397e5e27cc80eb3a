//! Two directors on one switch, whose vips float, and what can happen between them.

use anyhow::Result;

use super::{DIRECTOR, DIRECTOR_B, Lab, Namespace, Topology};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// The one at .2.
    A,
    /// The one at .3.
    B,
}

impl Side {
    /// Both.
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    /// Its port at the switch, which has the name of its machine.
    pub const fn port(self) -> &'static str {
        match self {
            Self::A => "director",
            Self::B => "partner",
        }
    }

    /// Its own address on the switch's segment.
    pub const fn address(self) -> std::net::Ipv4Addr {
        match self {
            Self::A => DIRECTOR,
            Self::B => DIRECTOR_B,
        }
    }

    /// The same on the cable between the two.
    pub const fn second_address(self) -> std::net::Ipv4Addr {
        let [_, _, _, last] = self.address().octets();
        std::net::Ipv4Addr::new(10, 69, 0, last)
    }

    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// A lab with two directors; neither has the vips.
#[derive(Debug)]
pub struct Pair {
    partner: Namespace,
    /// Everything else. Last, so that it is dropped last.
    pub lab: Lab,
}

impl Pair {
    /// Builds it with so many real servers.
    ///
    /// # Errors
    /// As [`Lab::up`].
    pub fn up(reals: u8) -> Result<Self> {
        Self::build(Topology::flat(reals))
    }

    /// The same of any topology.
    ///
    /// # Errors
    /// As [`Lab::up`].
    pub fn build(topology: Topology) -> Result<Self> {
        let lab = Lab::up(Topology { floating: true, ..topology })?;
        let partner = lab.add_partner(Side::B.port(), Side::B.address())?;
        let pair = Self { partner, lab };
        for side in Side::ALL {
            // So that programs can be bound to a vip before it is there, as nginx in front of keepalived is.
            pair.machine(side).sysctl("net/ipv4/ip_nonlocal_bind", "1")?;
            pair.machine(side).sysctl("net/ipv6/ip_nonlocal_bind", "1")?;
        }
        Ok(pair)
    }

    /// The machine of a side.
    pub fn machine(&self, side: Side) -> &Namespace {
        match side {
            Side::A => &self.lab.director,
            Side::B => &self.partner,
        }
    }

    /// A second way between the two that passes no switch: `eth1` of both, 10.69.0.2 and .3.
    ///
    /// # Errors
    /// If a command fails.
    pub fn add_second_path(&self) -> Result<()> {
        let last = |side: Side| side.address().octets()[3];
        self.lab.join(Side::ALL.map(|side| (self.machine(side), last(side))))
    }

    /// No frame of this machine reaches anybody, and none reaches it. Its link stays: it does not know, as when the machine
    /// itself is dead.
    ///
    /// # Errors
    /// If the switch does not let itself be told.
    pub fn silence(&self, side: Side) -> Result<()> {
        self.lab.tell_port(side.port(), "nomaster")
    }

    /// The opposite of [`silence`](Self::silence).
    ///
    /// # Errors
    /// If the switch does not let itself be told.
    pub fn let_speak(&self, side: Side) -> Result<()> {
        self.lab.tell_port(side.port(), "master br0")
    }

    /// Pulls the cable of this machine: it sees its link go.
    ///
    /// # Errors
    /// If the switch does not let itself be told.
    pub fn unplug(&self, side: Side) -> Result<()> {
        self.lab.tell_port(side.port(), "down")
    }

    /// Plugs the cable in again.
    ///
    /// # Errors
    /// If the switch does not let itself be told.
    pub fn plug_in(&self, side: Side) -> Result<()> {
        self.lab.tell_port(side.port(), "up")
    }

    /// The two do not hear each other any more; everybody else hears both.
    ///
    /// # Errors
    /// If the switch does not let itself be told.
    pub fn part(&self) -> Result<()> {
        self.isolate("on", &Side::ALL.map(|side| side.port().into()))
    }

    /// They hear each other again.
    ///
    /// # Errors
    /// If the switch does not let itself be told.
    pub fn heal(&self) -> Result<()> {
        self.isolate("off", &Side::ALL.map(|side| side.port().into()))
    }

    /// A director and the real servers do not hear each other any more; everybody else hears them.
    ///
    /// # Errors
    /// If the switch does not let itself be told.
    pub fn hide_reals_from(&self, side: Side) -> Result<()> {
        self.isolate("on", &self.reals_and(side))
    }

    /// They hear each other again.
    ///
    /// # Errors
    /// If the switch does not let itself be told.
    pub fn show_reals_to(&self, side: Side) -> Result<()> {
        self.isolate("off", &self.reals_and(side))
    }

    fn reals_and(&self, side: Side) -> Vec<String> {
        (1..=self.lab.reals.len()).map(|number| format!("real{number}")).chain([side.port().into()]).collect()
    }

    /// Between ports that are isolated the bridge forwards nothing; all other ways are open.
    fn isolate(&self, word: &str, ports: &[String]) -> Result<()> {
        ports.iter().try_for_each(|port| self.lab.tell_port(port, &format!("type bridge_slave isolated {word}")))
    }
}

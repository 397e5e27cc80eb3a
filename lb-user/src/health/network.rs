//! What is known of the way to the real servers: links, gateways, and who has answered when. Times are since any fixed
//! moment: no clock in here.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::Tracker;
use crate::state::Health;

/// Failures in a row after which a gateway counts as unreachable.
const GATEWAY_FALL: u32 = 3;

/// Our interfaces, and which real server is behind which.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// By index: the name, and whether it is up and has a carrier.
    pub links: HashMap<u32, (String, bool)>,
    /// By address: an interface's index. Absent is this machine itself, which is always reached.
    pub behind: HashMap<IpAddr, u32>,
}

/// [`Surroundings`], and what the answers say of them.
#[derive(Debug, Default)]
pub struct Network {
    surroundings: Surroundings,
    /// When somebody behind an interface has answered last.
    answered: HashMap<u32, Duration>,
    gateways: HashMap<IpAddr, Tracker>,
    gateway_answered: Option<Duration>,
}

impl Network {
    /// Takes links and ways as they are now.
    pub fn set_surroundings(&mut self, surroundings: Surroundings) {
        self.surroundings = surroundings;
    }

    /// Makes these the gateways; what is known of those that stay is kept.
    pub fn set_gateways(&mut self, gateways: &[IpAddr]) {
        self.gateways.retain(|address, _| gateways.contains(address));
        for address in gateways {
            // Its first ping may have to wait for its MAC, so one failure says nothing at the start either.
            self.gateways.entry(*address).or_insert(Tracker::new(Health::Up, 1, GATEWAY_FALL));
        }
    }

    /// Behind which interface an address is; `None`: it is this machine's own.
    pub fn interface(&self, address: IpAddr) -> Option<u32> {
        self.surroundings.behind.get(&address).copied()
    }

    /// The name of the interface that an address is behind, if that has no link.
    pub fn dead_link(&self, address: IpAddr) -> Option<&str> {
        match self.surroundings.links.get(&self.interface(address)?) {
            Some((name, false)) => Some(name),
            _ => None,
        }
    }

    /// The name of the interface that an address is behind.
    pub fn interface_name(&self, address: IpAddr) -> &str {
        let link = self.interface(address).and_then(|index| self.surroundings.links.get(&index));
        link.map_or("this interface", |(name, _)| name)
    }

    /// Somebody has answered.
    pub fn note_answer(&mut self, address: IpAddr, now: Duration) {
        if let Some(interface) = self.interface(address) {
            self.answered.insert(interface, now);
        }
    }

    /// A gateway has answered a ping, or has not.
    pub fn note_gateway(&mut self, address: IpAddr, answers: bool, now: Duration) {
        let Some(gateway) = self.gateways.get_mut(&address) else { return };
        gateway.handle_result(answers);
        if answers {
            self.gateway_answered = Some(now);
        }
    }

    /// When last somebody behind the same interface, or a gateway, has answered.
    pub fn last_sign(&self, address: IpAddr) -> Option<Duration> {
        let interface = self.interface(address);
        self.gateway_answered.max(interface.and_then(|interface| self.answered.get(&interface).copied()))
    }

    /// Whether there are gateways, and none is reachable.
    pub fn is_cut_off(&self) -> bool {
        !self.gateways.is_empty() && self.gateways.values().all(|gateway| gateway.state() == Health::Down)
    }

    /// The gateways that may answer: they have not failed to, or not often enough.
    pub fn hopeful_gateways(&self) -> impl Iterator<Item = IpAddr> {
        let hopeful = self.gateways.iter().filter(|(_, gateway)| gateway.state() != Health::Down);
        hopeful.map(|(address, _)| *address)
    }

    /// The gateways, in words.
    pub fn gateway_names(&self) -> String {
        let mut names: Vec<String> = self.gateways.keys().map(IpAddr::to_string).collect();
        names.sort_unstable();
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    #[test]
    fn it_is_cut_off_when_no_gateway_answers_for_a_while() {
        let mut network = Network::default();
        assert!(!network.is_cut_off(), "without gateways nobody knows");
        network.set_gateways(&[GATEWAY, OTHER]);
        let mut answer = |address, answers: &[bool]| {
            for (answers, second) in answers.iter().zip(0..) {
                network.note_gateway(address, *answers, Duration::from_secs(second));
            }
            (network.is_cut_off(), network.hopeful_gateways().next().is_some())
        };
        assert_eq!(answer(GATEWAY, &[true, false, false, true, false, false]), (false, true));
        assert_eq!(answer(GATEWAY, &[false]), (false, true), "the other may answer yet");
        assert_eq!(answer(OTHER, &[false, false, false]), (true, false));
        assert_eq!(answer(OTHER, &[false, false, false, true]), (false, true));
        assert!(!network.is_cut_off());
        assert_eq!(network.last_sign(GATEWAY), Some(Duration::from_secs(3)));
        network.set_gateways(&[GATEWAY]);
        assert!(network.is_cut_off(), "the one that is left does not answer");
    }

    #[test]
    fn an_answer_speaks_for_all_behind_the_same_interface() {
        let surroundings = Surroundings {
            links: HashMap::from([(1, ("eth0".into(), true)), (2, ("eth1".into(), false))]),
            behind: HashMap::from([(GATEWAY, 1), (OTHER, 2)]),
        };
        let mut network = Network::default();
        network.set_surroundings(surroundings);
        network.note_answer(GATEWAY, Duration::from_secs(4));
        assert_eq!([GATEWAY, OTHER].map(|address| network.last_sign(address)), [Some(Duration::from_secs(4)), None]);
        assert_eq!([GATEWAY, OTHER].map(|address| network.dead_link(address)), [None, Some("eth1")]);
    }
}

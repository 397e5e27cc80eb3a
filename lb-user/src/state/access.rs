//! The access lists of all services, and which zones their clients prefer.

use std::collections::BTreeMap;

use ipnet::IpNet;
use lb_common::abi::{Access, AccessKey, AccessList, Admission, ServiceId, ServiceInfo};

use super::desired::{Branch, Wish};
use super::words_of;
use crate::config::Service;
use crate::dataplane::{AccessLists, AccessPrefix, Maps};

/// The access lists, and which services packets look at the second list of.
pub struct ListsInUse {
    /// All of them.
    pub lists: AccessLists,
    /// Those services.
    pub second: Vec<ServiceId>,
}

/// A list that changes goes to the other of the service's two, so that packets see all of the change or nothing.
pub fn access_lists(
    wish: &Wish<'_, impl Maps>,
    branches: &[Branch<'_>],
    services: &[(ServiceId, ServiceInfo)],
) -> ListsInUse {
    let mut found = ListsInUse { lists: AccessLists::new(), second: Vec::new() };
    let all = || branches.iter().zip(services).map(|(branch, (id, _))| (branch, *id));
    for (branch, id) in all().filter(|(branch, _)| branch.zone.is_none()) {
        let of_zone = |zone: &str| {
            let same = |other: &Branch<'_>| std::ptr::eq(other.service, branch.service) && other.zone == Some(zone);
            all().find(|(other, _)| same(other)).map(|(_, id)| id)
        };
        let rules = admissions(branch.service, of_zone);
        if rules.is_empty() {
            continue;
        }
        let list = |second| {
            let list = AccessList::new(id, second);
            let prefix = |net: &IpNet| AccessPrefix {
                key: AccessKey::new(list, words_of(net.network())),
                bits: AccessKey::LIST_BITS + u32::from(net.prefix_len()),
            };
            rules.iter().map(move |(net, admission)| (prefix(net), *admission)).collect::<AccessLists>()
        };
        let in_use = wish.directory.has_second_list(id);
        let of_list = |second| {
            let number = AccessList::new(id, second).0;
            wish.access.iter().filter(move |(prefix, _)| prefix.key.list == number)
        };
        let wanted = list(in_use);
        let unchanged = of_list(in_use).eq(wanted.iter()) || of_list(in_use).next().is_none();
        let second = in_use == unchanged;
        found.second.extend(second.then_some(id));
        found.lists.extend(if unchanged { wanted } else { list(second) });
    }
    found
}

/// One list of both: for each prefix of either what the longest one of each that holds it says.
fn admissions(service: &Service, of_zone: impl Fn(&str) -> Option<ServiceId>) -> Vec<(IpNet, Admission)> {
    let rules = service.access.as_ref().map(|access| &access.rules);
    let admission = |net: IpNet| {
        let access = rules.and_then(|rules| longest(rules, net)).copied().unwrap_or(Access::Allowed);
        let zone = longest(&service.locality, net).and_then(|zone| of_zone(zone));
        (net, Admission::new(access, zone))
    };
    service.prefixes().into_iter().map(admission).collect()
}

/// What the longest prefix says that holds all of a network.
fn longest<T>(rules: &BTreeMap<IpNet, T>, net: IpNet) -> Option<&T> {
    let holding = rules.iter().filter(|(rule, _)| rule.contains(&net));
    holding.max_by_key(|(rule, _)| rule.prefix_len()).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use lb_common::abi::Protocol;

    use super::*;
    use crate::config::AccessRules;

    fn net(text: &str) -> IpNet {
        text.parse().expect("a prefix")
    }

    #[test]
    fn each_prefix_says_what_the_longest_of_both_lists_say() {
        let rules = [("0.0.0.0/0", Access::Allowed), ("10.1.0.0/16", Access::Denied), ("10.1.2.0/24", Access::Allowed)];
        let zones = [("10.0.0.0/8", "a"), ("10.1.2.128/25", "b")];
        let service = Service {
            access: Some(AccessRules { rules: rules.map(|(prefix, access)| (net(prefix), access)).into() }),
            locality: zones.map(|(prefix, zone)| (net(prefix), zone.to_owned())).into(),
            ..Service::new("s", [10, 0, 0, 1].into(), 80, Protocol::Tcp, 0)
        };
        let of_zone = |zone: &str| ServiceId::new(if zone == "a" { 7 } else { 8 });
        let found = admissions(&service, of_zone);
        let row = |prefix, access, zone: u16| (net(prefix), Admission::new(access, ServiceId::new(zone)));
        let expected = [
            row("0.0.0.0/0", Access::Allowed, 0),
            row("10.0.0.0/8", Access::Allowed, 7),
            row("10.1.0.0/16", Access::Denied, 7),
            row("10.1.2.0/24", Access::Allowed, 7),
            row("10.1.2.128/25", Access::Allowed, 8),
        ];
        assert_eq!(found, expected);
    }
}

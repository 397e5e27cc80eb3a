//! The access lists of all services.

use lb_common::abi::{AccessKey, AccessList, ServiceId, ServiceInfo};

use super::desired::Wish;
use super::words_of;
use crate::dataplane::{AccessLists, AccessPrefix, Maps};

/// The access lists, and which services packets look at the second list of.
pub struct ListsInUse {
    /// All of them.
    pub lists: AccessLists,
    /// Those services.
    pub second: Vec<ServiceId>,
}

/// A list that changes goes to the other of the service's two, so that packets see all of the change or nothing.
pub fn access_lists(wish: &Wish<'_, impl Maps>, services: &[(ServiceId, ServiceInfo)]) -> ListsInUse {
    let mut found = ListsInUse { lists: AccessLists::new(), second: Vec::new() };
    for (service, (id, _)) in wish.config.services.iter().zip(services) {
        let Some(access) = &service.access else { continue };
        let list = |second| {
            let list = AccessList::new(*id, second);
            let prefix = |net: &ipnet::IpNet| AccessPrefix {
                key: AccessKey::new(list, words_of(net.network())),
                bits: AccessKey::LIST_BITS + u32::from(net.prefix_len()),
            };
            access.rules.iter().map(move |(net, access)| (prefix(net), *access)).collect::<AccessLists>()
        };
        let in_use = wish.directory.has_second_list(*id);
        let of_list = |second| {
            let number = AccessList::new(*id, second).0;
            wish.access.iter().filter(move |(prefix, _)| prefix.key.list == number)
        };
        let wanted = list(in_use);
        let unchanged = of_list(in_use).eq(wanted.iter()) || of_list(in_use).next().is_none();
        let second = in_use == unchanged;
        found.second.extend(second.then_some(*id));
        found.lists.extend(if unchanged { wanted } else { list(second) });
    }
    found
}

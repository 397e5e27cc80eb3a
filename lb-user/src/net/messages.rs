//! Netlink messages to what they mean.

use std::net::IpAddr;

use futures_util::TryStreamExt;
use lb_common::abi::Mac;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::link::{InfoData, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use rtnetlink::{Error, Handle};

use super::Link;
use super::table::{Entry, Freshness, Route};

/// All interfaces.
pub async fn links(handle: &Handle) -> Result<Vec<Link>, Error> {
    handle.link().get().execute().try_filter_map(async |message| Ok(link(&message))).try_collect().await
}

/// `None` for what has no name.
pub fn link(message: &LinkMessage) -> Option<Link> {
    let name = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })?;
    let mac = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(bytes) => mac(bytes),
        _ => None,
    });
    let up = message.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp);
    let mtu = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => Some(u16::try_from(*mtu).unwrap_or(u16::MAX)),
        _ => None,
    });
    Some(Link { name, index: message.header.index, mac, up, mtu: mtu.unwrap_or(1500), vlan: vlan(message) })
}

fn vlan(message: &LinkMessage) -> Option<(u32, u16)> {
    let parent = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Link(index) => Some(*index),
        _ => None,
    })?;
    let infos = message.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    let id = infos.flatten().find_map(|info| match info {
        LinkInfo::Data(InfoData::Vlan(data)) => data.iter().find_map(|item| match item {
            InfoVlan::Id(id) => Some(*id),
            _ => None,
        }),
        _ => None,
    })?;
    Some((parent, id))
}

/// Where packets to an address leave.
pub async fn route(handle: &Handle, address: IpAddr) -> Result<Route, Error> {
    let mut message = RouteMessage::default();
    (message.header.address_family, message.header.destination_prefix_length) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    message.attributes.push(RouteAttribute::Destination(match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    }));
    let mut routes = std::pin::pin!(handle.route().get(message).execute());
    Ok(routes.try_next().await?.map_or(Route::None, |message| meaning(&message)))
}

fn meaning(message: &RouteMessage) -> Route {
    let mut interface = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => return Route::Gateway,
            RouteAttribute::Oif(index) => interface = Some(*index),
            _ => {}
        }
    }
    match (message.header.kind, interface) {
        (RouteType::Local, _) => Route::Local,
        (RouteType::Unicast, Some(index)) => Route::Link(index),
        _ => Route::None,
    }
}

/// The whole neighbour table.
pub async fn neighbours(handle: &Handle) -> Result<Vec<Entry>, Error> {
    handle.neighbours().get().execute().try_filter_map(async |message| Ok(neighbour(&message))).try_collect().await
}

/// `None` for what is no IP neighbour.
pub fn neighbour(message: &NeighbourMessage) -> Option<Entry> {
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    })?;
    let mac = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => mac(bytes),
        _ => None,
    });
    let freshness = match message.header.state {
        NeighbourState::Permanent | NeighbourState::Noarp => Freshness::Fixed,
        NeighbourState::Reachable => Freshness::Fresh,
        NeighbourState::Delay | NeighbourState::Probe | NeighbourState::Incomplete => Freshness::Asking,
        _ => Freshness::Old,
    };
    Some(Entry { interface: message.header.ifindex, address, mac, freshness })
}

/// Makes the kernel ask for an address as if a packet for it were waiting.
pub async fn ask(handle: &Handle, interface: u32, address: IpAddr) -> Result<(), Error> {
    let request = handle.neighbours().add(interface, address);
    request.state(NeighbourState::None).flags(NeighbourFlags::Use).replace().execute().await
}

/// Makes the kernel forget what it believes about an address.
pub async fn forget(handle: &Handle, interface: u32, address: IpAddr) -> Result<(), Error> {
    let mut message = NeighbourMessage::default();
    message.header.ifindex = interface;
    let (family, destination) = match address {
        IpAddr::V4(address) => (AddressFamily::Inet, NeighbourAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, NeighbourAddress::Inet6(address)),
    };
    message.header.family = family;
    message.attributes.push(NeighbourAttribute::Destination(destination));
    handle.neighbours().del(message).execute().await
}

fn mac(bytes: &[u8]) -> Option<Mac> {
    bytes.try_into().ok().filter(|bytes| *bytes != [0; 6]).map(Mac)
}

//! The vips of one virtual router as addresses of an interface: only what we added is taken away.

use std::io;

use ipnet::IpNet;

use super::Fate;
use super::rtnl::{Address, Prepared, Requests};

/// A vip that may be on an interface.
#[derive(Debug)]
pub struct Held {
    /// The vip.
    pub net: IpNet,
    interface: u32,
    place: Place,
    add: Prepared,
    remove: Prepared,
}

/// Whether it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Absent,
    Ours,
    /// Somebody else has added it.
    Foreign,
}

impl Held {
    /// One that is not there.
    pub fn new(interface: u32, net: IpNet) -> Self {
        let (add, remove) = (Prepared::add(interface, net), Prepared::remove(interface, net));
        Self { net, interface, place: Place::Absent, add, remove }
    }

    /// Whether it is this one.
    pub fn is(&self, interface: u32, net: IpNet) -> bool {
        self.interface == interface && self.net == net
    }

    /// Adds it. What was left by a predecessor is ours.
    pub fn take(&mut self, requests: &mut Requests) -> Result<(), Fate> {
        match requests.execute(&mut self.add) {
            Ok(()) => {
                self.place = Place::Ours;
                Ok(())
            }
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => self.recognise(requests),
            Err(error) => Err(Fate::Refused(error)),
        }
    }

    /// Finds out whose the address is that is there.
    fn recognise(&mut self, requests: &mut Requests) -> Result<(), Fate> {
        let addresses = requests.addresses().map_err(Fate::Refused)?;
        let known = self.place;
        self.place = if addresses.iter().any(|address| self.is_at(address) && address.ours) {
            Place::Ours
        } else {
            Place::Foreign
        };
        if (known, self.place) == (Place::Absent, Place::Foreign) { Err(Fate::Foreign) } else { Ok(()) }
    }

    /// Takes it away, if it is ours.
    pub fn release(&mut self, requests: &mut Requests) -> Result<(), Fate> {
        if self.place == Place::Ours
            && let Err(error) = requests.execute(&mut self.remove)
            && !is_gone(&error)
        {
            return Err(Fate::Refused(error));
        }
        self.place = Place::Absent;
        Ok(())
    }

    /// Whether it is not there, as far as we know.
    pub fn is_absent(&self) -> bool {
        self.place == Place::Absent
    }

    /// Whether it is there, and we added it.
    pub fn is_ours(&self) -> bool {
        self.place == Place::Ours
    }

    /// Whether it is on its interface, whoever has added it.
    pub fn is_among(&self, addresses: &[Address]) -> bool {
        addresses.iter().any(|address| self.is_at(address))
    }

    fn is_at(&self, address: &Address) -> bool {
        address.interface == self.interface && address.net == self.net
    }
}

/// The address, or its interface.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::ENODEV))
}

//! `via` and `vip`: how a check's packets travel.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::ops::Range;

use lb_common::abi::{ProbeMark, limits};
use lb_common::hash::mix;
use toml::Spanned;

use super::super::problem::Report;
use super::super::{Config, Real, Service, raw, values};
use super::CheckKind;
use super::keys::Keys;

/// `via = "…"`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// To the real server's own address.
    Real,
    /// As the traffic does: to this vip, in a frame to the real server's MAC.
    Vip(IpAddr),
}

/// A [`Via`] that is ready to be gone: where its packets are told by a mark, that has been given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the real server's own address.
    Real,
    /// To a vip.
    Vip {
        /// Which.
        vip: IpAddr,
        /// What its packets are told by.
        mark: ProbeMark,
    },
}

/// The marks of all vips that checks go by, each as long as the config wants it.
pub type ProbeMarks = BTreeMap<IpAddr, ProbeMark>;

impl Config {
    /// Gives each vip that checks go by a mark. Where a vip has its mark depends on itself, and only where two meet on the
    /// others, so a reload hardly ever gives a check another mark.
    pub fn probe_marks(&self) -> ProbeMarks {
        let vips = self.pools.iter().filter_map(|pool| match pool.check.as_ref()?.via {
            Via::Real => None,
            Via::Vip(vip) => Some(vip),
        });
        give_out(vips.collect())
    }
}

/// There are fewer services, and so fewer vips, than marks.
fn give_out(vips: BTreeSet<IpAddr>) -> ProbeMarks {
    let mut taken = HashSet::new();
    let mut mark = |vip: &IpAddr| {
        let places = u64::from(limits::PROBED_VIPS - 1);
        let first = hash(*vip) % places;
        let free = (0..places).map(|step| 1 + ((first + step) % places) as u16).find(|index| taken.insert(*index))?;
        ProbeMark::new(free)
    };
    vips.into_iter().filter_map(|vip| Some((vip, mark(&vip)?))).collect()
}

fn hash(address: IpAddr) -> u64 {
    let bits = match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    mix(bits as u64 ^ mix((bits >> 64) as u64))
}

impl Via {
    /// With the mark of its vip.
    pub fn way(self, marks: &ProbeMarks) -> Way {
        match self {
            Self::Vip(vip) => marks.get(&vip).map_or(Way::Real, |mark| Way::Vip { vip, mark: *mark }),
            Self::Real => Way::Real,
        }
    }
}

/// `via`, and the vip that it goes by, or that a script is told of.
pub fn via(keys: &mut Keys<'_, '_>, kind: Option<&CheckKind>, users: &[&Service]) -> (Via, Option<IpAddr>) {
    let written = keys.text("via");
    let is_script = matches!(kind, Some(CheckKind::Script(_)));
    let by_vip = match written.as_ref().map(|via| (via.get_ref().as_str(), via.span())) {
        None | Some(("real", _)) => false,
        Some(("vip", span)) if is_script => {
            let cure = "a script opens its own sockets; use via = \"real\", and ask the vip (XDIRECTOR_VIP) yourself";
            keys.report.error(span, format!("a check of type \"script\" cannot go by the vip: {cure}"));
            false
        }
        Some(("vip", _)) => true,
        Some((other, span)) => {
            let message = format!("via is \"{other}\"; it must be \"real\" or \"vip\"");
            keys.report.error(span, message);
            false
        }
    };
    // Before the type is known nobody can say whether the key is one of its own.
    if !by_vip && !is_script && kind.is_some() && keys.has("vip") {
        let key = keys.name("vip");
        keys.error(format!("{key} means nothing without via = \"vip\"; add that, or remove it"));
    }
    let vip = vip(keys, by_vip, users);
    let via = vip.filter(|_| by_vip).map_or(Via::Real, Via::Vip);
    (via, vip)
}

/// The one that is named, else the one that all services of the pool have.
fn vip(keys: &mut Keys<'_, '_>, is_needed: bool, users: &[&Service]) -> Option<IpAddr> {
    let vips: BTreeSet<IpAddr> = users.iter().map(|service| service.vip).collect();
    let words = vips.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
    if let Some(written) = keys.text("vip") {
        let name = keys.name("vip");
        let vip = values::address(keys.report, &name, &written)?;
        if !vips.contains(&vip) && !users.is_empty() {
            keys.bad("vip", written.span(), format!("is {vip}, which no service of the pool has; they have: {words}"));
        }
        return Some(vip);
    }
    if vips.len() > 1 && is_needed {
        let check = keys.name("").trim_end_matches('.').to_owned();
        keys.error(format!("{check} needs a `vip` to go by: the services of the pool have {words}"));
    }
    vips.into_iter().next().filter(|_| users.iter().all(|service| service.vip == users[0].vip))
}

/// A probe cannot change its family on the way.
pub fn same_family(report: &mut Report<'_>, check: &Spanned<raw::Check>, via: Via, reals: &[Real]) {
    let Via::Vip(vip) = via else { return };
    let at: Range<usize> = check.span();
    for real in reals.iter().filter(|real| real.address.is_ipv4() != vip.is_ipv4()) {
        let message = format!(
            "a check via the vip {vip} needs real servers with addresses of its family, and {} is at {}; use via = \"real\"",
            real.name, real.address
        );
        report.error(at.clone(), message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_vip_has_a_mark_of_its_own_which_hardly_depends_on_the_others() {
        let vip = |number: u32| IpAddr::from((0x0a42_0064 + number).to_be_bytes());
        let all = give_out((0..512).map(vip).collect());
        let distinct: HashSet<ProbeMark> = all.values().copied().collect();
        assert_eq!((all.len(), distinct.len()), (512, 512));
        let few = give_out((0..5).map(vip).collect());
        let fewer = give_out((1..5).map(vip).collect());
        assert!(fewer.iter().all(|(vip, mark)| few.get(vip) == Some(mark)));
    }
}

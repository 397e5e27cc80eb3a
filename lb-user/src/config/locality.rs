//! `service.locality`: zones that clients prefer must be zones that real servers are in.

use std::collections::BTreeSet;

use toml::Spanned;

use super::problem::Report;
use super::{Pool, raw};

/// The most zones of a service.
const MAX_ZONES: usize = 15;

/// Says what is wrong with any service's zones.
pub fn check(report: &mut Report<'_>, file: &raw::File, pools: &[Pool]) {
    for service in &file.service {
        let raw::Service { pool, locality, .. } = service.get_ref();
        // That it is missing has been said.
        let Some(pool) = pools.iter().find(|other| other.name == *pool.get_ref()) else { continue };
        let there: BTreeSet<&str> = pool.reals.iter().filter_map(|real| real.zone.as_deref()).collect();
        let mut wanted = BTreeSet::new();
        for (prefix, zone) in locality {
            let is_new = wanted.insert(zone.get_ref().as_str());
            if is_new && !there.contains(zone.get_ref().as_str()) {
                report.error(zone.span(), unknown(prefix, zone.get_ref(), &pool.name, &there));
            }
        }
        if wanted.len() > MAX_ZONES {
            let message = format!("service.locality has {} zones; it may have {MAX_ZONES}", wanted.len());
            report.error(service.span(), message);
        }
    }
}

fn unknown(prefix: &Spanned<String>, zone: &str, pool: &str, there: &BTreeSet<&str>) -> String {
    let prefix = prefix.get_ref();
    let hint = if there.is_empty() {
        format!("write `zone = \"{zone}\"` to those of [[pool.{pool}.real]] that are in it")
    } else {
        let names: Vec<&str> = there.iter().copied().collect();
        format!("zones there: {}", names.join(", "))
    };
    format!("service.locality sends {prefix} to zone \"{zone}\", and no real server of pool {pool} is in it; {hint}")
}

//! What one config has other than another, in words. Pure.

use super::{Config, Pool, Real, Service};

/// What is other in `new` than in `old`, each in words; empty if they are the same.
pub fn changes(old: &Config, new: &Config) -> Vec<String> {
    // A new field has to be thought of here.
    let Config { director, limits: _, pools, services, vrrp, sync_groups, peering, hooks } = new;
    let mut changes = Vec::new();
    let mut note = |changed: bool, what: &str| {
        if changed {
            changes.push(what.to_owned());
        }
    };
    note(old.director.hash_seed != director.hash_seed, "director.hash_seed changed");
    note(old.director.peers != director.peers, "director.peers changed");
    note(old.peering != *peering, "peering changed");
    note(old.hooks != *hooks, "hooks changed");
    note(old.director.gateways != director.gateways, "director.gateways changed");
    named(&mut changes, "pool", (&old.pools, pools), |pool| &pool.name, pool_changes);
    let service = |a: &Service, b: &Service| service_changes((a, old), (b, new));
    named(&mut changes, "service", (&old.services, services), |service| &service.name, service);
    named(&mut changes, "vrrp", (&old.vrrp, vrrp), |router| &router.name, |a, b| changed(a != b, "changed"));
    named(
        &mut changes,
        "sync_group",
        (&old.sync_groups, sync_groups),
        |group| &group.name,
        |a, b| changed(a != b, "changed"),
    );
    changes
}

/// What came, what went, and what is other of what stayed; all of one kind, told apart by their names.
fn named<'a, T>(
    changes: &mut Vec<String>,
    kind: &str,
    (old, new): (&'a [T], &'a [T]),
    name: impl Fn(&'a T) -> &'a String,
    differences: impl Fn(&T, &T) -> Vec<String>,
) {
    let find = |all: &'a [T], wanted: &str| all.iter().find(|one| name(one) == wanted);
    for gone in old.iter().filter(|one| find(new, name(one)).is_none()) {
        changes.push(format!("{kind} {} removed", name(gone)));
    }
    for one in new {
        match find(old, name(one)) {
            None => changes.push(format!("{kind} {} added", name(one))),
            Some(before) => {
                changes.extend(differences(before, one).iter().map(|what| format!("{kind} {}: {what}", name(one))))
            }
        }
    }
}

fn changed(is: bool, what: &str) -> Vec<String> {
    if is { vec![what.to_owned()] } else { Vec::new() }
}

fn pool_changes(old: &Pool, new: &Pool) -> Vec<String> {
    let Pool { name: _, ring_size, reals, check, min_healthy, on_empty, slow_start, discovery } = new;
    let mut changes = Vec::new();
    if old.ring_size != *ring_size {
        changes.push(format!("ring_size {} -> {ring_size}", old.ring_size));
    }
    if old.min_healthy != *min_healthy {
        changes.push(format!("min_healthy {} -> {min_healthy}", old.min_healthy));
    }
    changes.extend(changed(old.check != *check, "check changed"));
    changes.extend(changed(old.on_empty != *on_empty, "on_empty changed"));
    changes.extend(changed(old.slow_start != *slow_start, "slow_start changed"));
    changes.extend(changed(old.discovery != *discovery, "discovery changed"));
    let before = |real: &Real| old.reals.iter().find(|other| other.address == real.address);
    for gone in old.reals.iter().filter(|real| !reals.iter().any(|other| other.address == real.address)) {
        changes.push(format!("real {} removed", gone.name));
    }
    for real in reals {
        match before(real) {
            None => changes.push(format!("real {} added, weight {}", real.name, real.weight)),
            Some(before) => changes.extend(real_changes(before, real)),
        }
    }
    changes
}

fn real_changes(old: &Real, new: &Real) -> Vec<String> {
    let Real { name, address: _, weight, tier, zone } = new;
    let mut changes = Vec::new();
    if old.name != *name {
        changes.push(format!("real {} is now named {name}", old.name));
    }
    if old.weight != *weight {
        changes.push(format!("weight of {name} {} -> {weight}", old.weight));
    }
    if old.tier != *tier {
        changes.push(format!("tier of {name} {} -> {tier}", old.tier));
    }
    let shown = |zone: &Option<String>| zone.clone().unwrap_or_else(|| "none".into());
    if old.zone != *zone {
        changes.push(format!("zone of {name} {} -> {}", shown(&old.zone), shown(zone)));
    }
    changes
}

fn service_changes((old, old_config): (&Service, &Config), (new, new_config): (&Service, &Config)) -> Vec<String> {
    let Service { name: _, vip, ports, protocol, pool, affinity, tracking, idle_timeout, access, locality } = new;
    let pool_name = |config: &Config, index: usize| config.pools.get(index).map(|pool| pool.name.clone());
    let (before, after) = (pool_name(old_config, old.pool), pool_name(new_config, *pool));
    let mut changes = Vec::new();
    if (old.vip, old.ports, old.protocol) != (*vip, *ports, *protocol) {
        changes.push(format!("now {vip} port {ports} {}", new.protocol_name()));
    }
    if before != after {
        changes.push(format!("pool {} -> {}", before.unwrap_or_default(), after.unwrap_or_default()));
    }
    changes.extend(changed(old.affinity != *affinity, "affinity changed"));
    changes.extend(changed(old.tracking != *tracking, "tracking changed"));
    changes.extend(changed(old.idle_timeout != *idle_timeout, "idle_timeout changed"));
    changes.extend(changed(old.access != *access, "access list changed"));
    changes.extend(changed(old.locality != *locality, "locality changed"));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
[director]
interfaces = [\"eth0\"]
hash_seed = \"1\"
[pool.a]
[[pool.a.real]]
name = \"one\"
address = \"10.0.0.1\"
weight = 2
[[pool.a.real]]
address = \"10.0.0.2\"
[pool.b]
[[pool.b.real]]
address = \"10.0.0.3\"
[[service]]
name = \"s\"
vip = \"10.0.0.100\"
port = 80
protocol = \"tcp\"
pool = \"a\"
";

    /// Each row replaces one piece of the file.
    #[test]
    fn each_change_has_its_words() {
        let config = |text: &str| Config::parse("x.toml", text).unwrap_or_else(|errors| panic!("{errors}")).config;
        let rows: [(&str, &str, &[&str]); 12] = [
            ("", "", &[]),
            ("weight = 2", "weight = 3", &["pool a: weight of one 2 -> 3"]),
            (
                "weight = 2",
                "weight = 2\ntier = 1\nzone = \"z\"",
                &["pool a: tier of one 0 -> 1", "pool a: zone of one none -> z"],
            ),
            ("\"one\"", "\"first\"", &["pool a: real one is now named first"]),
            ("10.0.0.2", "10.0.0.4", &["pool a: real 10.0.0.2 removed", "pool a: real 10.0.0.4 added, weight 1"]),
            (
                "[pool.a]",
                "[pool.a]\nring_size = 1021\nslow_start = \"1m\"",
                &["pool a: ring_size 509 -> 1021", "pool a: slow_start changed"],
            ),
            (
                "[pool.a]",
                "[pool.a]\ncheck = { type = \"tcp\" }\nmin_healthy = 2",
                &["pool a: min_healthy 1 -> 2", "pool a: check changed"],
            ),
            ("pool = \"a\"", "pool = \"b\"", &["service s: pool a -> b"]),
            ("port = 80", "port = 81", &["service s: now 10.0.0.100 port 81 tcp"]),
            ("name = \"s\"", "name = \"t\"", &["service s removed", "service t added"]),
            (
                "port = 80",
                "port = 80\ndeny = [\"10.9.0.0/16\"]\nidle_timeout = \"1h\"",
                &["service s: idle_timeout changed", "service s: access list changed"],
            ),
            ("\"1\"", "\"2\"", &["director.hash_seed changed"]),
        ];
        for (was, is, expected) in rows {
            assert!(FILE.contains(was), "{was}");
            let found = changes(&config(FILE), &config(&FILE.replacen(was, is, 1)));
            assert_eq!(found, expected, "{is}");
        }
    }
}

//! A virtual router as one director has it, in the words of our file and in those of keepalived's.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{INTERFACE, Side, VIP, VIP_6};

/// What the director at .2 has; the other one has ten less.
const PRIORITY: u8 = 100;

/// One virtual router of one director.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    /// For logs and hooks.
    pub name: String,
    /// Its number, from 1.
    pub vrid: u8,
    /// 2 or 3.
    pub version: u8,
    /// From 1 to 255.
    pub priority: u8,
    /// From one advert to the next.
    pub interval: Duration,
    /// Whether a higher priority takes over from a lower one.
    pub preempt: bool,
    /// Whether that is done in a skew time and not in a down interval; only ours can.
    pub hasty: bool,
    /// Only version 2.
    pub password: Option<String>,
    /// The addresses, each with the length of its network.
    pub vips: Vec<String>,
    /// Whether the master itself can be reached by the vips; only ours is asked.
    pub accept: bool,
    /// Adverts from the first to the second and not to the group.
    pub unicast: Option<(IpAddr, IpAddr)>,
    /// Interfaces without which it is in fault.
    pub links: Vec<&'static str>,
    /// A check that its priority depends on.
    pub script: Option<Script>,
    /// A pool that its priority depends on; only ours has pools.
    pub pool: Option<Weighed>,
    /// A program that is told every state.
    pub notify: Option<PathBuf>,
}

/// A script that is run again and again; it fails while a file is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The file.
    pub fails_with: PathBuf,
    /// From one run to the next, in whole seconds as keepalived wants it.
    pub interval: Duration,
    /// Added to the priority while it fails (below 0).
    pub weight: i16,
}

/// Something with a weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weighed {
    /// Its name.
    pub name: String,
    /// What it adds to the priority.
    pub weight: i16,
}

impl Router {
    /// As the tutorials have it: version 2, one advert a second, a password; over IPv4.
    pub fn v2(side: Side) -> Self {
        let priority = match side {
            Side::A => PRIORITY,
            Side::B => PRIORITY - 10,
        };
        Self {
            name: "VI_1".into(),
            vrid: 66,
            version: 2,
            priority,
            interval: Duration::from_secs(1),
            preempt: true,
            hasty: false,
            password: Some("1111".into()),
            vips: vec![format!("{VIP}/24")],
            accept: true,
            unicast: None,
            links: Vec::new(),
            script: None,
            pool: None,
            notify: None,
        }
    }

    /// Version 3 over IPv4, with this interval.
    pub fn v3(side: Side, interval: Duration) -> Self {
        Self { version: 3, interval, password: None, ..Self::v2(side) }
    }

    /// Version 3 over IPv6; its first vip is a link-local one, as RFC 9568, section 5.2.9, wants it.
    pub fn v6(side: Side, interval: Duration) -> Self {
        let vips = vec!["fe80::66/64".into(), format!("{VIP_6}/64")];
        Self { name: "VI_6".into(), vips, ..Self::v3(side, interval) }
    }

    /// With adverts from one director to the other and not to the group.
    pub fn unicast(self, side: Side) -> Self {
        Self { unicast: Some((side.address().into(), side.other().address().into())), ..self }
    }

    /// The time after the last advert in which the other side takes over, if it has this router's priority.
    pub fn down_interval(&self) -> Duration {
        let skewed = if self.version == 2 { Duration::from_secs(1) } else { self.interval };
        3 * self.interval + skewed * (256 - u32::from(self.priority)) / 256
    }

    /// `[[vrrp]]` and what belongs to it.
    pub fn ours(&self) -> String {
        let Self { name, vrid, version, priority, interval, preempt, vips, .. } = self;
        let mut text = format!(
            "[[vrrp]]\nname = \"{name}\"\ninterface = \"{INTERFACE}\"\nversion = {version}\nvirtual_router_id = {vrid}\n\
             priority = {priority}\nadvert_interval = \"{}ms\"\npreempt = {preempt}\nvips = {vips:?}\n",
            interval.as_millis(),
        );
        let mut add = |line: String| text += &(line + "\n");
        if let Some(password) = &self.password {
            add(format!("auth = {{ type = \"pass\", password = \"{password}\" }}"));
        }
        if let Some((own, peer)) = self.unicast {
            add(format!("source = \"{own}\"\nunicast_peers = [\"{peer}\"]"));
        }
        if !self.accept {
            add("accept = false".into());
        }
        if self.hasty {
            add("preempt_pace = \"skew\"".into());
        }
        if !self.links.is_empty() {
            add(format!("track_interface = {:?}", self.links));
        }
        let script = self.script.iter().map(|it| format!("{{ script = \"{name}\", weight = {} }}", it.weight));
        let pool = self.pool.iter().map(|it| format!("{{ pool = \"{}\", weight = {} }}", it.name, it.weight));
        let tracked: Vec<String> = script.chain(pool).collect();
        if !tracked.is_empty() {
            add(format!("track = [{}]", tracked.join(", ")));
        }
        if let Some(notify) = &self.notify {
            add(format!("notify = {notify:?}"));
        }
        if let Some(Script { fails_with, interval, .. }) = &self.script {
            add(format!("[script.{name}]\ncommand = [\"/usr/bin/test\", \"!\", \"-e\", {fails_with:?}]"));
            add(format!("interval = \"{}ms\"\nrise = 1\nfall = 1", interval.as_millis()));
        }
        text
    }

    /// `vrrp_instance` and what belongs to it.
    pub fn keepaliveds(&self) -> String {
        let Self { name, vrid, version, priority, interval, vips, .. } = self;
        let mut text = String::new();
        if let Some(Script { fails_with, interval, weight }) = &self.script {
            text += &format!(
                "vrrp_script {name} {{\n  script \"/usr/bin/test ! -e {}\"\n  interval {}\n  weight {weight}\n  rise 1\n  fall 1\n}}\n",
                fails_with.display(),
                interval.as_secs(),
            );
        }
        text += &format!(
            "vrrp_instance {name} {{\n  state BACKUP\n  interface {INTERFACE}\n  version {version}\n  \
             virtual_router_id {vrid}\n  priority {priority}\n  advert_int {}\n",
            interval.as_secs_f64(),
        );
        let mut add = |block: &str, lines: &[String]| {
            let lines = lines.iter().fold(String::new(), |mut all, line| {
                // Writing to a string does not fail.
                writeln!(all, "    {line}").ok();
                all
            });
            text += &format!("  {block} {{\n{lines}  }}\n");
        };
        add("virtual_ipaddress", vips);
        if let Some(password) = &self.password {
            add("authentication", &["auth_type PASS".into(), format!("auth_pass {password}")]);
        }
        if let Some((_, peer)) = self.unicast {
            add("unicast_peer", &[peer.to_string()]);
        }
        if !self.links.is_empty() {
            add("track_interface", &self.links.iter().map(ToString::to_string).collect::<Vec<_>>());
        }
        if self.script.is_some() {
            add("track_script", std::slice::from_ref(name));
        }
        let source = self.unicast.iter().map(|(own, _)| format!("  unicast_src_ip {own}\n"));
        let preempt = (!self.preempt).then(|| "  nopreempt\n".into());
        let notify = self.notify.iter().map(|program| format!("  notify {}\n", program.display()));
        text + &source.chain(preempt).chain(notify).collect::<String>() + "}\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_down_interval_is_the_one_of_the_rfcs() {
        let v2 = Router::v2(Side::A);
        assert_eq!(v2.down_interval().as_micros(), 3_609_375);
        let v3 = Router { interval: Duration::from_millis(10), ..Router::v3(Side::B, Duration::from_millis(10)) };
        assert_eq!(v3.down_interval().as_micros(), 36_484);
    }
}

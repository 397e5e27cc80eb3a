//! One or two dumps to a report, a report to text or JSON. Pure.

use std::time::Duration;

use lb_common::abi::{Counter, Protocol, RealState};
use serde::Serialize;

use crate::cli::output::{Table, si};
use crate::dataplane::{Dump, PinsDump, RealDump, ServiceDump};

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub struct Report {
    services: Vec<Service>,
    reasons: Vec<Reason>,
    pins: Pins,
}

/// The flows that are remembered.
#[derive(Debug, Serialize)]
struct Pins {
    room: usize,
    taken: usize,
    /// Of flows that were elsewhere than their bucket said when they were last seen.
    foreign: usize,
}

#[derive(Debug, Serialize)]
struct Service {
    name: String,
    vip: String,
    /// A number, a range such as 8000-9000, or "any".
    ports: String,
    protocol: &'static str,
    pool: String,
    ring_size: u32,
    /// Of the ring: the share of buckets whose flows may be elsewhere, so that packets look at the pins; 0 to 1.
    marked: f64,
    #[serde(flatten)]
    traffic: Traffic,
    reals: Vec<Real>,
}

#[derive(Debug, Serialize)]
struct Real {
    name: String,
    address: String,
    weight: u32,
    /// Of the service's ring: 0 to 1.
    share: f64,
    state: &'static str,
    mac: Option<String>,
    #[serde(flatten)]
    traffic: Traffic,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Traffic {
    packets: u64,
    bytes: u64,
    packets_per_second: Option<f64>,
    bytes_per_second: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Reason {
    name: &'static str,
    action: &'static str,
    packets: u64,
    description: &'static str,
}

impl Traffic {
    fn new(before: Option<(Counter, Duration)>, now: Counter) -> Self {
        let rate = |before: u64, now: u64, time: Duration| now.saturating_sub(before) as f64 / time.as_secs_f64();
        Self {
            packets: now.packets,
            bytes: now.bytes,
            packets_per_second: before.map(|(before, time)| rate(before.packets, now.packets, time)),
            bytes_per_second: before.map(|(before, time)| rate(before.bytes, now.bytes, time)),
        }
    }

    fn cells(&self) -> [String; 4] {
        let rate = |rate: Option<f64>| rate.map_or_else(|| "-".into(), si);
        let bits = self.bytes_per_second.map(|bytes| bytes * 8.0);
        [si(self.packets as f64), si(self.bytes as f64), rate(self.packets_per_second), rate(bits)]
    }
}

impl Report {
    /// Rates, if there is a dump of some time before.
    pub fn new(before: Option<(&Dump, Duration)>, now: &Dump) -> Self {
        let services = now.services.iter().map(|service| Service::new(before, now, service)).collect();
        let reason = |&(reason, packets): &(lb_common::reason::Reason, u64)| Reason {
            name: reason.name(),
            action: reason.action().name(),
            packets,
            description: reason.describe(),
        };
        let PinsDump { room, taken, foreign } = now.pins;
        Self { services, reasons: now.reasons.iter().map(reason).collect(), pins: Pins { room, taken, foreign } }
    }

    /// Fits a terminal of 80 columns as long as names are short. `all`: reasons that no packet had, too.
    pub fn text(&self, all: bool, colours: bool) -> String {
        let head = ["service / real", "weight", "share", "state", "packets", "bytes", "pkt/s", "bit/s"];
        let mut table = Table::new(1, &head);
        for service in &self.services {
            service.rows(&mut table);
        }
        let mut text = table.render(colours);
        if self.services.iter().any(|service| self.shares_its_pool(service)) {
            text += "\nA pool serves more than one service: its real servers' counts are those of all of them.\n";
        }
        text += "\n";
        let mut table = Table::new(2, &["reason", "fate", "packets"]);
        for reason in self.reasons.iter().filter(|reason| all || reason.packets > 0) {
            table.row(vec![reason.name.into(), reason.action.into(), si(reason.packets as f64)], None);
        }
        text + &table.render(colours) + &self.tracking()
    }

    /// Nothing if nothing is tracked.
    fn tracking(&self) -> String {
        let Pins { taken, foreign, .. } = self.pins;
        let marked = self.services.iter().filter(|service| service.marked > 0.0);
        let marked: Vec<_> = marked.map(|s| format!("{} {:.1}%", s.name, s.marked * 100.0)).collect();
        if taken == 0 && marked.is_empty() {
            return String::new();
        }
        let [taken, foreign] = [taken, foreign].map(|count| si(count as f64));
        let marked = if marked.is_empty() { "none".into() } else { marked.join(", ") };
        format!("\nflows remembered: {taken}, {foreign} of them not where the ring says\nbuckets tracked: {marked}\n")
    }

    fn shares_its_pool(&self, service: &Service) -> bool {
        self.services.iter().filter(|other| other.pool == service.pool).count() > 1
    }
}

impl Service {
    fn new(before: Option<(&Dump, Duration)>, now: &Dump, service: &ServiceDump) -> Self {
        let former = before.and_then(|(dump, time)| {
            let former = dump.services.iter().find(|former| former.id == service.id);
            former.map(|former| (former.counter, time))
        });
        let of_pool = now.reals.iter().filter(|real| real.pool == service.pool);
        Self {
            name: service.name.clone(),
            vip: service.vip.to_string(),
            ports: service.ports.to_string(),
            protocol: if service.protocol == Protocol::Tcp { "tcp" } else { "udp" },
            pool: service.pool.clone(),
            ring_size: service.ring_size,
            marked: f64::from(service.marked) / f64::from(service.ring_size.max(1)),
            traffic: Traffic::new(former, service.counter),
            reals: of_pool.map(|real| Real::new(before, real, service)).collect(),
        }
    }

    fn rows(&self, table: &mut Table) {
        let Self { name, vip, ports, protocol, traffic, reals, .. } = self;
        let cells = [format!("{name} {}", endpoint(vip, ports, protocol)), String::new(), String::new(), String::new()];
        table.row(cells.into_iter().chain(traffic.cells()).collect(), Some("1"));
        for real in reals {
            let share = format!("{:.1}%", real.share * 100.0);
            let address = if real.name == real.address { "" } else { &real.address };
            let cells = [format!("  {} {address}", real.name), real.weight.to_string(), share, real.state.into()];
            let is_lost = [RealState::Down, RealState::Unresolved].iter().any(|state| state.name() == real.state);
            let colour = is_lost.then_some("31");
            table.row(cells.into_iter().chain(real.traffic.cells()).collect(), colour);
        }
    }
}

/// An IPv6 address stands in brackets.
fn endpoint(vip: &str, ports: &str, protocol: &str) -> String {
    if vip.contains(':') { format!("[{vip}]:{ports}/{protocol}") } else { format!("{vip}:{ports}/{protocol}") }
}

impl Real {
    fn new(before: Option<(&Dump, Duration)>, real: &RealDump, service: &ServiceDump) -> Self {
        let buckets = service.owned.get(&real.id).copied().unwrap_or(0);
        let former = before.and_then(|(dump, time)| {
            let former = dump.reals.iter().find(|former| former.id == real.id);
            former.map(|former| (former.counter, time))
        });
        Self {
            name: real.name.clone(),
            address: real.address.to_string(),
            weight: real.weight,
            share: f64::from(buckets) / f64::from(service.ring_size.max(1)),
            state: real.state.name(),
            mac: real.mac.map(|mac| mac.to_string()),
            traffic: Traffic::new(former, real.counter),
        }
    }
}

#[cfg(test)]
mod tests {
    use lb_common::abi::{Mac, RealId, ServiceId};
    use lb_common::reason::Reason;

    use super::*;
    use crate::config::Ports;

    fn dump(packets: u64) -> Dump {
        let counter = Counter { packets, bytes: packets * 100 };
        let real = |index: u16, state| RealDump {
            id: RealId::new(index).expect("a valid id"),
            pool: "web".into(),
            name: format!("web{index}"),
            address: [192, 168, 81, 100 + index as u8].into(),
            weight: 1,
            state,
            mac: Some(Mac([2, 0, 0, 0, 0, index as u8])),
            counter,
        };
        Dump {
            services: vec![ServiceDump {
                id: ServiceId::new(1).expect("a valid id"),
                name: "http".into(),
                pool: "web".into(),
                vip: [192, 168, 81, 100].into(),
                ports: Ports { first: 80, last: 80 },
                protocol: Protocol::Tcp,
                ring_size: 251,
                marked: 0,
                owned: [(RealId::new(1).expect("a valid id"), 251)].into(),
                counter,
            }],
            reals: vec![real(1, RealState::Up), real(2, RealState::Down)],
            reasons: vec![(Reason::Forwarded, packets), (Reason::NoService, 0)],
            pins: PinsDump { room: 1024, taken: 0, foreign: 0 },
        }
    }

    #[test]
    fn the_table_says_all_in_80_columns() {
        let report = Report::new(Some((&dump(1000), Duration::from_secs(2))), &dump(4000));
        let expected = "\
service / real              weight   share  state  packets  bytes  pkt/s  bit/s
http 192.168.81.100:80/tcp                           4.00k   400k  1.50k  1.20M
  web1 192.168.81.101            1  100.0%     up    4.00k   400k  1.50k  1.20M
  web2 192.168.81.102            1    0.0%   down    4.00k   400k  1.50k  1.20M

reason     fate     packets
forwarded  forward    4.00k
";
        assert_eq!(report.text(false, false), expected);
    }

    #[test]
    fn what_is_tracked_is_said_below() {
        let mut dump = dump(1);
        dump.services[0].marked = 25;
        dump.pins = PinsDump { room: 1024, taken: 1500, foreign: 7 };
        let text = Report::new(None, &dump).text(false, false);
        let expected = "\nflows remembered: 1.50k, 7 of them not where the ring says\nbuckets tracked: http 10.0%\n";
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn without_a_former_dump_there_are_no_rates() {
        let report = Report::new(None, &dump(7));
        let json = serde_json::to_value(&report).expect("it is plain data");
        assert_eq!(json["services"][0]["packets"], 7);
        assert!(json["services"][0]["packets_per_second"].is_null());
        assert_eq!(json["services"][0]["reals"][1]["state"], "down");
        assert_eq!(json["services"][0]["reals"][0]["share"], 1.0);
        assert_eq!(json["reasons"][1]["name"], "no-service");
    }
}

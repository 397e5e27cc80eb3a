//! The words that hooks know for real servers and pools, and what is said when they change. Pure.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use crate::config::{Config, Pool, Real};
use crate::hooks::Call;
use crate::state::{Duty, Health, View};

/// How a real server stands, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RealWord {
    Up,
    Down,
    Drain,
    Maintenance,
}

/// How a pool stands, in a word and two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PoolWord {
    word: &'static str,
    healthy: usize,
    total: usize,
}

/// Everybody's word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roll {
    /// By pool and name of the real server.
    reals: BTreeMap<(String, String), (RealWord, IpAddr)>,
    pools: BTreeMap<String, PoolWord>,
}

/// Why things are as they are, where a check has said it.
#[derive(Clone, Debug, Default)]
pub struct Reasons {
    reals: HashMap<(String, IpAddr), String>,
    pools: HashMap<String, String>,
}

impl Reasons {
    /// What its check has found.
    pub fn set_real(&mut self, pool: &str, address: IpAddr, reason: String) {
        self.reals.insert((pool.to_owned(), address), reason);
    }

    /// Why it is held.
    pub fn set_pool(&mut self, pool: &str, reason: String) {
        self.pools.insert(pool.to_owned(), reason);
    }

    fn of(&self, word: RealWord, pool: &str, address: IpAddr) -> &str {
        match word {
            RealWord::Maintenance => "by order",
            RealWord::Drain => "by order, or as its agent says",
            RealWord::Up | RealWord::Down => self.reals.get(&(pool.to_owned(), address)).map_or("", String::as_str),
        }
    }
}

impl Roll {
    /// As the view has them now.
    pub fn call(config: &Config, view: &View) -> Self {
        let mut roll = Self::default();
        for pool in &config.pools {
            for real in &pool.reals {
                let word = (real_word(view, &pool.name, real), real.address);
                roll.reals.insert((pool.name.clone(), real.name.clone()), word);
            }
            roll.pools.insert(pool.name.clone(), pool_word(view, pool));
        }
        roll
    }

    /// What is to be said of the changes since another one. Of those that are new, or gone, nothing.
    pub fn since(&self, former: &Self, reasons: &Reasons) -> Vec<Call> {
        let mut calls = Vec::new();
        for (key, (word, address)) in &self.reals {
            if former.reals.get(key).is_some_and(|(old, _)| old != word) {
                let (pool, real) = key;
                let subject = format!("{pool}/{real}");
                let reason = reasons.of(*word, pool, *address).to_owned();
                calls.push(call("REAL", subject, [word.name().into(), reason].to_vec()));
            }
        }
        for (pool, now) in &self.pools {
            if former.pools.get(pool).is_some_and(|old| old.word != now.word) {
                let PoolWord { word, healthy, total } = now;
                let mut words = vec![(*word).to_owned(), healthy.to_string(), total.to_string()];
                words.extend(reasons.pools.get(pool).filter(|_| *word == HELD).cloned());
                calls.push(call("POOL", pool.clone(), words));
            }
        }
        calls
    }
}

const HELD: &str = "HELD";

impl RealWord {
    const fn name(self) -> &'static str {
        match self {
            Self::Up => "UP",
            Self::Down => "DOWN",
            Self::Drain => "DRAIN",
            Self::Maintenance => "MAINTENANCE",
        }
    }
}

/// One that has no check, or no verdict yet, serves: it is up.
fn real_word(view: &View, pool: &str, real: &Real) -> RealWord {
    let order = view.orders.get(pool).and_then(|pool| pool.get(&real.address)).copied().unwrap_or_default();
    let drains = view.asked.get(pool).and_then(|pool| pool.get(&real.address)).is_some_and(|asked| asked.drain);
    match (order.duty, view.health_of(pool, real.address)) {
        (Duty::Maintenance, _) => RealWord::Maintenance,
        (_, Health::Down) => RealWord::Down,
        (Duty::Drain, _) => RealWord::Drain,
        (Duty::Serve, _) if drains => RealWord::Drain,
        (Duty::Serve, _) => RealWord::Up,
    }
}

/// Those that drain still have flows: they are healthy.
fn pool_word(view: &View, pool: &Pool) -> PoolWord {
    let is_healthy = |real: &&Real| matches!(real_word(view, &pool.name, real), RealWord::Up | RealWord::Drain);
    let healthy = pool.reals.iter().filter(is_healthy).count();
    let enough = usize::try_from(pool.min_healthy).unwrap_or(usize::MAX);
    let word = match healthy {
        _ if view.held.contains(&pool.name) => HELD,
        0 => "EMPTY",
        _ if healthy < enough => "DOWN",
        _ => "UP",
    };
    PoolWord { word, healthy, total: pool.reals.len() }
}

fn call(kind: &str, subject: String, words: Vec<String>) -> Call {
    let mut arguments = vec![kind.to_owned(), subject.clone()];
    arguments.extend(words);
    Call { subject: format!("{kind} {subject}"), arguments }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Director, Limits};
    use crate::state::{Asked, Order};

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));
    const C: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 3));

    fn config() -> Config {
        let reals = [("a", A), ("b", B), ("c", C)].map(|(name, address)| Real::new(name, address, 1));
        let pool = Pool { min_healthy: 2, ..Pool::new("web", 251, reals.to_vec()) };
        Config::new(Director::new(vec!["eth0".into()]), Limits::default(), vec![pool], Vec::new())
    }

    /// Each step changes the view; what the hook is told by that, a line a call.
    #[test]
    fn every_change_is_told_once_with_its_numbers() {
        type Change = fn(&mut View);
        let order = |view: &mut View, duty| {
            view.orders.entry("web".into()).or_default().insert(A, Order { duty, weight: None });
        };
        let steps: [(Change, &[&str]); 9] = [
            (|view| view.set_health("web", A, Health::Up), &[]),
            (|view| view.set_health("web", A, Health::Down), &["REAL web/a DOWN it is gone"]),
            (|view| view.set_health("web", B, Health::Down), &["REAL web/b DOWN ", "POOL web DOWN 1 3"]),
            (|view| view.set_health("web", C, Health::Down), &["REAL web/c DOWN ", "POOL web EMPTY 0 3"]),
            (|view| assert!(view.held.insert("web".into())), &["POOL web HELD 0 3 no link"]),
            (|view| assert!(view.held.remove("web")), &["POOL web EMPTY 0 3"]),
            (
                |view| [A, B].map(|address| view.set_health("web", address, Health::Up)).into_iter().collect(),
                &["REAL web/a UP it is gone", "REAL web/b UP ", "POOL web UP 2 3"],
            ),
            (
                |view| {
                    let drain = Asked { drain: true, ..Asked::default() };
                    view.asked.entry("web".into()).or_default().insert(A, drain);
                },
                &["REAL web/a DRAIN by order, or as its agent says"],
            ),
            (|_| {}, &[]),
        ];
        let config = config();
        let mut reasons = Reasons::default();
        reasons.set_real("web", A, "it is gone".into());
        reasons.set_pool("web", "no link".into());
        let mut view = View::default();
        let mut check = |change: &dyn Fn(&mut View), expected: &[&str]| {
            let former = Roll::call(&config, &view);
            change(&mut view);
            let calls = Roll::call(&config, &view).since(&former, &reasons);
            let lines: Vec<String> = calls.into_iter().map(|call| call.arguments.join(" ")).collect();
            assert_eq!(lines, expected);
        };
        for (change, expected) in steps {
            check(&change, expected);
        }
        check(&|view| order(view, Duty::Maintenance), &["REAL web/a MAINTENANCE by order", "POOL web DOWN 1 3"]);
        check(
            &|view| order(view, Duty::Serve),
            &["REAL web/a DRAIN by order, or as its agent says", "POOL web UP 2 3"],
        );
    }

    #[test]
    fn of_those_that_are_new_or_gone_nothing_is_said() {
        let mut view = View::default();
        view.set_health("web", A, Health::Down);
        let now = Roll::call(&config(), &view);
        assert_eq!(now.since(&Roll::default(), &Reasons::default()), []);
        assert_eq!(Roll::default().since(&now, &Reasons::default()), []);
    }
}

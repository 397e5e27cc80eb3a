//! How a real server bears itself, all things considered: its weight in the file, its check, the operator, its tier.

use lb_common::abi::RealState;
use lb_common::ring::Part;

use super::{Asked, Duty, Health, Order, Share};

/// All that bears on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its weight in the file.
    pub weight: u32,
    /// The verdict of its check, as far as that is believed.
    pub health: Health,
    /// Whether the way to it is known.
    pub reach: Reach,
    /// What the operator wants.
    pub order: Order,
    /// What its check wants.
    pub asked: Asked,
    /// Whether it is its turn.
    pub turn: Turn,
}

/// Whether frames can get to a real server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Its MAC is known, or it is this machine.
    #[default]
    Known,
    /// Not yet.
    Unknown,
}

/// Whether a real server's tier is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turn {
    /// It is.
    #[default]
    Serves,
    /// Those of lower tiers are enough.
    StandsBy,
}

/// Which flows may go to a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flows {
    /// None.
    None,
    /// Those that are there.
    Old,
    /// New ones too.
    All,
}

/// What comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bearing {
    /// As tables show it.
    pub state: RealState,
    /// Which flows may go to it.
    pub flows: Flows,
    /// The weight that counts: the operator's, else its check's, else the file's.
    pub weight: u32,
    /// Its weight in the base of the ring: no less than the file's, so that a base is made anew only for a weight above that.
    pub base_weight: u32,
    /// The part of its buckets that new flows find it in, as long as new flows may go to it at all.
    pub part: Part,
}

/// The operator has the last word on weight and on draining; what the check says of a part counts on top of either.
///
/// What keeps a real server from having any flow is said before what keeps it from new ones.
pub fn bearing(facts: &Facts) -> Bearing {
    let weight = facts.order.weight.or(facts.asked.weight).unwrap_or(facts.weight);
    let base_weight = weight.max(facts.weight);
    let share = facts.asked.share;
    let part = Part::of(weight, base_weight).times(part_of(share));
    let drains = facts.order.duty == Duty::Drain || facts.asked.drain || part == Part::NONE;
    let (state, flows) = match facts {
        Facts { order: Order { duty: Duty::Maintenance, .. }, .. } => (RealState::Maintenance, Flows::None),
        Facts { health: Health::Down, .. } => (RealState::Down, Flows::None),
        Facts { reach: Reach::Unknown, .. } => (RealState::Unresolved, Flows::None),
        _ if drains => (RealState::Draining, Flows::Old),
        Facts { turn: Turn::StandsBy, .. } => (RealState::Standby, Flows::Old),
        _ if share < Share::ALL => (RealState::Warming, Flows::All),
        Facts { health: Health::Unchecked, .. } => (RealState::Unchecked, Flows::All),
        Facts { health: Health::Up, .. } => (RealState::Up, Flows::All),
    };
    Bearing { state, flows, weight, base_weight, part }
}

fn part_of(share: Share) -> Part {
    Part::of(share.number().into(), Share::ALL.number().into())
}

/// The last rank that serves: the first that anybody has, and each next one as long as fewer than `enough` of those before it
/// take new flows.
///
/// Those of the ranks before go on serving beside it, so that they keep their flows.
pub fn last_rank(reals: impl Iterator<Item = (u16, Flows)>, enough: u32) -> u16 {
    let mut taking = std::collections::BTreeMap::<u16, u32>::new();
    for (rank, flows) in reals {
        *taking.entry(rank).or_default() += u32::from(flows == Flows::All);
    }
    let (mut last, mut sum) = (0, 0);
    for (rank, count) in taking {
        last = rank;
        sum += count;
        if sum >= enough {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(duty: Duty, weight: Option<u32>) -> Order {
        Order { duty, weight }
    }

    fn share(thousandths: u16) -> Asked {
        Asked { share: Share::thousandths(thousandths), ..Asked::default() }
    }

    fn weight(weight: u32) -> Asked {
        Asked { weight: Some(weight), ..Asked::default() }
    }

    #[test]
    fn every_fact_has_its_place() {
        use Duty::{Drain, Maintenance, Serve};
        use Flows::{All, None as Nothing, Old};
        let up = Facts { weight: 10, health: Health::Up, ..Facts::default() };
        let down = Facts { health: Health::Down, ..up };
        let lost = Facts { reach: Reach::Unknown, ..up };
        let spare = Facts { turn: Turn::StandsBy, ..up };
        let ordered = |duty, weight| Facts { order: order(duty, weight), ..up };
        let asked = |asked| Facts { asked, ..up };
        let leaving = Asked { drain: true, ..Asked::default() };
        let whole = |state, flows| (state, flows, 10, 10, Part::ALL);
        let rows = [
            ("up", up, whole(RealState::Up, All)),
            ("unchecked", Facts { health: Health::Unchecked, ..up }, whole(RealState::Unchecked, All)),
            ("down", down, whole(RealState::Down, Nothing)),
            ("not found", lost, whole(RealState::Unresolved, Nothing)),
            ("down and not found", Facts { health: Health::Down, ..lost }, whole(RealState::Down, Nothing)),
            ("in reserve", spare, whole(RealState::Standby, Old)),
            ("drained", ordered(Drain, None), whole(RealState::Draining, Old)),
            ("in maintenance", ordered(Maintenance, None), whole(RealState::Maintenance, Nothing)),
            (
                "down, in maintenance",
                Facts { order: order(Maintenance, None), ..down },
                whole(RealState::Maintenance, Nothing),
            ),
            ("down, drained", Facts { order: order(Drain, None), ..down }, whole(RealState::Down, Nothing)),
            ("in reserve, drained", Facts { order: order(Drain, None), ..spare }, whole(RealState::Draining, Old)),
            ("its agent drains it", asked(leaving), whole(RealState::Draining, Old)),
            ("its agent drains it, in reserve", Facts { asked: leaving, ..spare }, whole(RealState::Draining, Old)),
            ("half of it", asked(share(500)), (RealState::Warming, All, 10, 10, Part::of(1, 2))),
            ("nothing of it", asked(share(0)), (RealState::Draining, Old, 10, 10, Part::NONE)),
            (
                "half of it, in reserve",
                Facts { asked: share(500), ..spare },
                (RealState::Standby, Old, 10, 10, Part::of(1, 2)),
            ),
            ("less weight by script", asked(weight(5)), (RealState::Up, All, 5, 10, Part::of(1, 2))),
            ("no weight by script", asked(weight(0)), (RealState::Draining, Old, 0, 10, Part::NONE)),
            ("more weight by script", asked(weight(20)), (RealState::Up, All, 20, 20, Part::ALL)),
            ("less weight by order", ordered(Serve, Some(5)), (RealState::Up, All, 5, 10, Part::of(1, 2))),
            ("no weight by order", ordered(Serve, Some(0)), (RealState::Draining, Old, 0, 10, Part::NONE)),
            (
                "the order wins",
                Facts { asked: weight(2), ..ordered(Serve, Some(20)) },
                (RealState::Up, All, 20, 20, Part::ALL),
            ),
            (
                "half of an ordered half",
                Facts { asked: share(500), ..ordered(Serve, Some(5)) },
                (RealState::Warming, All, 5, 10, Part::of(1, 4)),
            ),
            ("no weight in the file", Facts { weight: 0, ..up }, (RealState::Draining, Old, 0, 0, Part::NONE)),
            (
                "none in the file, some by order",
                Facts { weight: 0, ..ordered(Serve, Some(3)) },
                (RealState::Up, All, 3, 3, Part::ALL),
            ),
        ];
        for (name, facts, (state, flows, weight, base_weight, part)) in rows {
            assert_eq!(bearing(&facts), Bearing { state, flows, weight, base_weight, part }, "{name}");
        }
    }

    #[test]
    fn ranks_serve_until_there_are_enough() {
        use Flows::{All, None as Nothing, Old};
        type Row<'a> = (&'a [(u16, Flows)], u32, u16);
        let rows: [Row<'_>; 8] = [
            (&[(0, All), (1, All)], 1, 0),
            (&[(0, Nothing), (1, All), (2, All)], 1, 1),
            (&[(0, Old), (1, All)], 1, 1),
            (&[(0, All), (0, All), (1, All)], 3, 1),
            (&[(0, All), (1, All), (3, All)], 3, 3),
            (&[(0, Nothing), (1, Nothing)], 1, 1),
            (&[(2, All), (4, All)], 1, 2),
            (&[], 1, 0),
        ];
        for (reals, enough, last) in rows {
            assert_eq!(last_rank(reals.iter().copied(), enough), last, "{reals:?}, {enough} wanted");
        }
    }
}

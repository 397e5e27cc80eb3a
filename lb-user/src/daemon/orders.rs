//! What the operator sets: which order follows from which command, and what is said of it. Pure.

use crate::state::{Duty, Order};

/// A command for one real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// `drain`
    Drain,
    /// `undrain`
    Undrain,
    /// `maintenance`
    Maintenance,
    /// `maintenance --off`
    MaintenanceOff,
    /// `weight`; `None`: the file's.
    Weight(Option<u32>),
}

impl Change {
    /// The order that is in effect after it.
    ///
    /// # Errors
    /// Why it makes no sense now, and what would.
    pub const fn apply(self, order: Order) -> Result<Order, &'static str> {
        let duty = match (self, order.duty) {
            (Self::Weight(weight), duty) => return Ok(Order { duty, weight }),
            (Self::Drain, _) => Duty::Drain,
            (Self::Maintenance, _) => Duty::Maintenance,
            (Self::Undrain, Duty::Maintenance) => {
                return Err("it is in maintenance, not drained; `maintenance --off` ends that");
            }
            (Self::MaintenanceOff, Duty::Drain) => {
                return Err("it is drained, not in maintenance; `undrain` ends that");
            }
            (Self::Undrain | Self::MaintenanceOff, _) => Duty::Serve,
        };
        Ok(Order { duty, weight: order.weight })
    }
}

/// In words.
pub fn describe(order: Order) -> String {
    let duty = match order.duty {
        Duty::Serve => "serve",
        Duty::Drain => "drain: keep its flows, take no others",
        Duty::Maintenance => "be in maintenance: serve nobody",
    };
    match order.weight {
        Some(weight) => format!("{duty}, with weight {weight}"),
        None => duty.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_its_order_or_says_what_to_do_instead() {
        use Change::{Drain, Maintenance, MaintenanceOff, Undrain};
        use Duty::Serve;
        let rows = [
            (Serve, Drain, Ok(Duty::Drain)),
            (Serve, Undrain, Ok(Serve)),
            (Serve, Maintenance, Ok(Duty::Maintenance)),
            (Serve, MaintenanceOff, Ok(Serve)),
            (Duty::Drain, Drain, Ok(Duty::Drain)),
            (Duty::Drain, Undrain, Ok(Serve)),
            (Duty::Drain, Maintenance, Ok(Duty::Maintenance)),
            (Duty::Drain, MaintenanceOff, Err("`undrain`")),
            (Duty::Maintenance, Drain, Ok(Duty::Drain)),
            (Duty::Maintenance, Undrain, Err("`maintenance --off`")),
            (Duty::Maintenance, Maintenance, Ok(Duty::Maintenance)),
            (Duty::Maintenance, MaintenanceOff, Ok(Serve)),
        ];
        for (before, change, expected) in rows {
            let order = Order { duty: before, weight: Some(5) };
            match (change.apply(order), expected) {
                (Ok(found), Ok(duty)) => assert_eq!(found, Order { duty, weight: Some(5) }, "{change:?}"),
                (Err(found), Err(word)) => assert!(found.contains(word), "{found}"),
                (found, expected) => panic!("{before:?}, {change:?}: {found:?}, expected {expected:?}"),
            }
            for weight in [None, Some(0)] {
                assert_eq!(Change::Weight(weight).apply(order), Ok(Order { duty: before, weight }));
            }
        }
    }
}

//! Holding: verdicts that are not believed, because it is more likely that we are cut off than that all have died. Pure.

use std::fmt;

/// Why a pool is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// All of its real servers are behind interfaces without a link; the name of one.
    Link(String),
    /// None of these gateways is reachable.
    Gateways(String),
    /// None of its real servers answers, nor does anybody else behind this interface.
    Silence(String),
}

/// What could end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// A real server of the pool answers that was silent before.
    Return,
    /// A real server of the pool answers that did so all the time.
    StillThere,
    /// A real server of the pool has answered wrongly or refused so often that it is down.
    Refusal,
    /// A gateway answers.
    Gateway,
}

impl Cause {
    /// Whether the sign ends it. While the link is down nothing does: what is heard was said before.
    pub const fn ends_with(&self, sign: Sign, has_link: bool) -> bool {
        let ends = match (self, sign) {
            (_, Sign::Return | Sign::Refusal) => true,
            // It is held because of the link, which is back, or of silence, which has ended.
            (Self::Link(_) | Self::Silence(_), Sign::StillThere) => true,
            (Self::Gateways(_), Sign::StillThere) => false,
            (Self::Link(_) | Self::Gateways(_), Sign::Gateway) => true,
            // That a gateway answers says that we are not cut off, so the pool's silence will be judged.
            (Self::Silence(_), Sign::Gateway) => true,
        };
        ends && has_link
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(interface) => write!(f, "{interface} has no link"),
            Self::Gateways(addresses) => write!(f, "no gateway answers ({addresses})"),
            Self::Silence(interface) => write!(
                f,
                "its real servers are silent, and nobody else behind {interface} answers: this machine may be cut off \
                 (an address in director.gateways would tell)"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table in docs/health.md.
    #[test]
    fn each_sign_ends_a_hold_or_does_not() {
        let rows = [
            (Cause::Link("eth0".into()), [true, true, true, true]),
            (Cause::Gateways("10.0.0.1".into()), [true, false, true, true]),
            (Cause::Silence("eth0".into()), [true, true, true, true]),
        ];
        for (cause, expected) in rows {
            let signs = [Sign::Return, Sign::StillThere, Sign::Refusal, Sign::Gateway];
            assert_eq!(signs.map(|sign| cause.ends_with(sign, true)), expected, "{cause}");
            assert_eq!(signs.map(|sign| cause.ends_with(sign, false)), [false; 4], "{cause}, and there is no link");
        }
    }
}

//! When results in a row become another verdict. Pure.

use crate::vrrp::priority::Health;

/// The verdict on one thing that is asked again and again. The first answer decides at once.
#[derive(Clone, Debug)]
pub struct Streak {
    rise: u32,
    fall: u32,
    verdict: Option<bool>,
    /// Answers in a row that speak against it.
    against: u32,
}

impl Streak {
    /// `rise` good answers in a row make it well, `fall` bad ones ill; both at least 1.
    pub const fn new(rise: u32, fall: u32) -> Self {
        Self { rise, fall, verdict: None, against: 0 }
    }

    /// Takes an answer; says the verdict if it is another one now.
    pub fn handle(&mut self, is_good: bool) -> Option<Health> {
        let needed = match self.verdict {
            Some(verdict) if verdict == is_good => {
                self.against = 0;
                return None;
            }
            Some(_) if is_good => self.rise,
            Some(_) => self.fall,
            None => 1,
        };
        self.against += 1;
        if self.against < needed {
            return None;
        }
        self.against = 0;
        self.verdict = Some(is_good);
        Some(if is_good { Health::Well } else { Health::Ill })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_answer_decides_and_later_ones_must_come_in_a_row() {
        let mut streak = Streak::new(2, 3);
        let rows = [
            (true, Some(Health::Well)),
            (false, None),
            (false, None),
            (true, None),
            (false, None),
            (false, None),
            (false, Some(Health::Ill)),
            (false, None),
            (true, None),
            (false, None),
            (true, None),
            (true, Some(Health::Well)),
        ];
        for (at, (answer, expected)) in rows.into_iter().enumerate() {
            assert_eq!(streak.handle(answer), expected, "answer {at}");
        }
        assert_eq!(Streak::new(2, 3).handle(false), Some(Health::Ill));
    }
}

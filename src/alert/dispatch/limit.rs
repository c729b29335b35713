//! How many messages a receiver gets: a rate with a burst, part of it kept for what is urgent.

use serde::{Deserialize, Serialize};

use crate::units::{Span, Time};

/// At most so many messages in so much time, on average and at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At least 1.
    pub messages: u32,
    /// More than zero.
    pub per: Span,
}

/// What a receiver has used up, as the moment at which all of it is there again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Limiter {
    pub(super) full_at: Time,
}

impl Limiter {
    pub(super) const fn new() -> Self {
        Self { full_at: Time::MIN }
    }

    /// Takes one message, or says when there will be one. A third is kept for urgent ones.
    pub(super) fn take(&mut self, rate: Rate, is_urgent: bool, now: Time) -> Result<(), Time> {
        let messages = i64::from(rate.messages.max(1));
        let cost = Span::from_micros((rate.per.micros() / messages).max(1));
        let usable = if is_urgent {
            messages
        } else {
            (messages - messages / 3).max(1)
        };
        let ahead = Span::from_micros(cost.micros().saturating_mul(usable - 1));
        let free_at = self.full_at.minus(ahead);
        if now < free_at {
            return Err(free_at);
        }
        self.full_at = self.full_at.max(now).plus(cost);
        Ok(())
    }

    /// When an urgent message may be sent; `now` when it may at once.
    pub(super) fn free_at(self, rate: Rate, now: Time) -> Time {
        let mut probe = self;
        probe.take(rate, true, now).err().unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate_and_some_kept_for_the_urgent() {
        let rate = Rate {
            messages: 6,
            per: Span::from_secs(60),
        };
        let second = |n: i64| Time::from_micros(n * 1_000_000);
        let mut limiter = Limiter::new();
        let taken = |limiter: &mut Limiter, urgent, at| {
            (0..100)
                .take_while(|_| limiter.take(rate, urgent, second(at)).is_ok())
                .count()
        };
        assert_eq!(taken(&mut limiter, false, 0), 4);
        assert_eq!(taken(&mut limiter, true, 0), 2);
        assert_eq!(limiter.take(rate, true, second(3)), Err(second(10)));
        assert_eq!(limiter.take(rate, false, second(3)), Err(second(30)));
        assert_eq!(taken(&mut limiter, true, 35), 3);
        let all: usize = (36..636).map(|at| taken(&mut limiter, true, at)).sum();
        assert_eq!(all, 60);
        assert_eq!(taken(&mut limiter, true, 10_000), 6);
    }
}

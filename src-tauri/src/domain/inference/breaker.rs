//! The circuit breaker of one provider: after several failures in a row it is left alone for a while, then one request
//! tries it. Times are steady milliseconds, which never run backwards.

use super::super::base::limits::{
    MODEL_FAILURES_TO_REST, MODEL_REST_MAX_MS, MODEL_REST_MS, MODEL_RETRY_AFTER_MAX_MS,
};
use super::{Failure, FailureKind};

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Breaker {
    /// Failures since it last answered.
    failures: u32,
    /// How often it has been left alone since it last answered.
    rests: u32,
    /// Until when it is left alone.
    until_ms: Option<u64>,
    /// Whether one request is trying it.
    probing: bool,
}

impl Breaker {
    /// Whether a request may go to the provider now. Where it was left alone and the time is over, the first one that
    /// asks is the one that tries it; its end must be told by one of the methods below.
    ///
    /// # Errors
    /// For how many more milliseconds it is left alone; 0 while a request tries it.
    pub fn admit(&mut self, now_ms: u64) -> Result<(), u64> {
        let Some(until) = self.until_ms else {
            return Ok(());
        };
        if now_ms < until {
            return Err(until - now_ms);
        }
        if self.probing {
            return Err(0);
        }
        self.probing = true;
        Ok(())
    }

    /// As [`Breaker::admit`], and changes nothing.
    ///
    /// # Errors
    /// As [`Breaker::admit`].
    pub fn would_admit(&self, now_ms: u64) -> Result<(), u64> {
        self.clone().admit(now_ms)
    }

    /// For how many more milliseconds it is left alone where it is not known to answer again; 0 where it is to be tried.
    pub fn out(&self, now_ms: u64) -> Option<u64> {
        self.until_ms.map(|until| until.saturating_sub(now_ms))
    }

    /// The next one that asks may try it, whatever the time.
    pub fn hurry(&mut self, now_ms: u64) {
        self.until_ms = self.until_ms.map(|until| until.min(now_ms));
    }

    /// The provider answered.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// A request ended without saying anything about the provider: whoever asked has gone.
    pub fn withdrawn(&mut self) {
        self.probing = false;
    }

    /// A request failed. `jitter` is a random number, which keeps many nodes from coming back at one moment.
    pub fn failed(&mut self, failure: &Failure, now_ms: u64, jitter: u64) {
        let tried = std::mem::take(&mut self.probing);
        let counts = failure.kind.may_pass() || failure.kind == FailureKind::BadReply;
        if !counts {
            // It answered, only not this request.
            self.until_ms = None;
            return;
        }
        self.failures = self.failures.saturating_add(1);
        let asked = match failure.kind {
            FailureKind::RateLimited => failure.retry_after_ms,
            _ => None,
        };
        let rest = match asked {
            Some(ms) => ms.min(MODEL_RETRY_AFTER_MAX_MS),
            None if tried || self.failures >= MODEL_FAILURES_TO_REST => {
                let doubled = MODEL_REST_MS.saturating_mul(1 << self.rests.min(16));
                self.rests = self.rests.saturating_add(1);
                let rest = doubled.min(MODEL_REST_MAX_MS);
                rest + jitter % (rest / 4 + 1)
            }
            None => return,
        };
        self.until_ms = Some(now_ms.saturating_add(rest).max(self.until_ms.unwrap_or(0)));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn server() -> Failure {
        Failure::new(FailureKind::Server, "it failed")
    }

    fn tripped() -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..MODEL_FAILURES_TO_REST {
            assert_eq!(breaker.admit(1_000), Ok(()));
            breaker.failed(&server(), 1_000, 0);
        }
        breaker
    }

    #[test]
    fn after_several_failures_it_rests_and_then_one_request_tries() {
        let mut breaker = tripped();
        assert_eq!(breaker.admit(1_000), Err(MODEL_REST_MS));
        let over = 1_000 + MODEL_REST_MS;
        assert_eq!(breaker.would_admit(over), Ok(()));
        assert_eq!(breaker.admit(over), Ok(()));
        assert_eq!(breaker.admit(over), Err(0), "one at a time");
        breaker.withdrawn();
        assert_eq!(
            breaker.admit(over),
            Ok(()),
            "one that went away blocks nobody"
        );
        breaker.succeeded();
        assert_eq!(breaker, Breaker::default());
    }

    #[test]
    fn until_it_has_answered_it_counts_as_out_and_may_be_tried_before_its_time() {
        let mut breaker = tripped();
        assert_eq!(breaker.out(1_000), Some(MODEL_REST_MS));
        assert_eq!(breaker.out(1_000 + MODEL_REST_MS), Some(0));
        breaker.hurry(1_500);
        assert_eq!(
            (breaker.out(1_500), breaker.admit(1_500)),
            (Some(0), Ok(()))
        );
        breaker.succeeded();
        breaker.hurry(1_500);
        assert_eq!(breaker.out(1_500), None);
    }

    #[test]
    fn each_failed_try_doubles_the_rest_up_to_a_limit() {
        let mut breaker = tripped();
        let (mut now, mut last) = (1_000, MODEL_REST_MS);
        for _ in 0..20 {
            now += last;
            assert_eq!(breaker.admit(now), Ok(()));
            breaker.failed(&server(), now, 0);
            let rest = breaker.admit(now).unwrap_err();
            assert_eq!(rest, (last * 2).min(MODEL_REST_MAX_MS));
            last = rest;
        }
    }

    #[test]
    fn a_provider_that_names_a_time_is_left_alone_for_it_within_reason() {
        let mut breaker = Breaker::default();
        let mut limited = Failure::new(FailureKind::RateLimited, "slow down");
        limited.retry_after_ms = Some(7_000);
        breaker.failed(&limited, 0, 0);
        assert_eq!(breaker.admit(0), Err(7_000));
        limited.retry_after_ms = Some(u64::MAX);
        breaker.failed(&limited, 0, 0);
        assert_eq!(breaker.admit(0), Err(MODEL_RETRY_AFTER_MAX_MS));
    }

    #[test]
    fn what_is_wrong_with_a_request_is_no_fault_of_the_provider() {
        for kind in [
            FailureKind::Refused,
            FailureKind::Unauthorized,
            FailureKind::Cancelled,
        ] {
            let mut breaker = Breaker::default();
            for _ in 0..50 {
                breaker.failed(&Failure::new(kind, "no"), 0, 0);
            }
            assert_eq!(breaker.admit(0), Ok(()));
        }
    }
}

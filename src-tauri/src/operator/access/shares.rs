//! The shares of a session of a browser: how much it changes in an hour, and that its time is up once and for ever.

use super::sessions::{Browsers, Session, State};
use crate::domain::base::limits::{BUDGET_WINDOW_MS, SESSION_CHANGES_PER_HOUR};
use crate::domain::base::{Code, Refusal, TimeMs};
use crate::operator::Answer;

impl Browsers {
    /// Ends every session whose time was up by `lived`, a time that the node has lived through; whether there was one of another
    /// machine.
    pub(super) fn end_old(&self, lived: TimeMs) -> bool {
        let mut state = self.lock();
        let State { seats, kept, .. } = &mut *state;
        let mut ended = false;
        seats.retain(|_, seat| {
            let over = seat.is_over(lived);
            kept.changed(over && seat.session.away);
            ended |= over && seat.session.away;
            !over
        });
        ended
    }

    /// Takes one change out of the share of a session.
    ///
    /// # Errors
    /// `RATE_EXCEEDED`.
    pub fn may_change(&self, session: &Session, now: TimeMs) -> Answer<()> {
        let mut state = self.lock();
        let Some(seat) = state.seats.get_mut(&session.id) else {
            return Ok(());
        };
        let (most, hour) = (SESSION_CHANGES_PER_HOUR, BUDGET_WINDOW_MS);
        if seat.changes.take(1, most, hour, now) {
            return Ok(());
        }
        let why = format!(
            "this session has made {most} changes within an hour and nothing was done; more are taken as time passes. Stops, pauses and ends are always taken"
        );
        Err(Refusal::new(Code::RateExceeded, why))
    }
}

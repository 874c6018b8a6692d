//! Which connections a session of a browser of another machine has: so many, and with one more the one that was longest without a
//! request ends. So no session keeps the port from those of others.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::adapters::transport::{Connection, Slot};
use crate::domain::base::limits::AWAY_CONNECTIONS_OF_SESSION_MAX;
use crate::operator::access::sessions::SessionId;

/// The connections of each session, the one that asked last at the end.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<BTreeMap<SessionId, VecDeque<Connection>>>);

impl Connections {
    /// A session asks for something over a connection.
    pub(super) fn asks(&self, session: SessionId, slot: &Slot) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, its) in all.iter_mut() {
            // A browser that has begun another session has its connections there.
            its.retain(|one| one.is_open() && !(one.is_of(slot) && *id != session));
        }
        all.retain(|id, its| *id == session || !its.is_empty());
        let its = all.entry(session).or_default();
        its.retain(|one| !one.is_of(slot));
        its.push_back(slot.connection());
        while its.len() > AWAY_CONNECTIONS_OF_SESSION_MAX {
            if let Some(oldest) = its.pop_front() {
                oldest.cut();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::adapters::transport::Doorway;
    use crate::domain::base::limits::{
        AWAY_CONNECTIONS_MAX, AWAY_SESSIONS_MAX, AWAY_STRANGERS_MAX,
    };

    #[test]
    fn a_session_has_so_many_connections_and_loses_the_one_that_was_longest_without_a_request() {
        let doorway = Doorway::new(100, Duration::from_secs(60));
        let stop = CancellationToken::new();
        let enter = || doorway.enter(&stop);
        let cut = |slot: &Slot| slot.cut().is_cancelled();
        let connections = Connections::default();
        let (one, other) = (SessionId::of(b"one"), SessionId::of(b"other"));
        let others = enter();
        connections.asks(other, &others);
        let mut all: Vec<Slot> = Vec::new();
        for _ in 0..AWAY_CONNECTIONS_OF_SESSION_MAX {
            all.push(enter());
            connections.asks(one, &all[all.len() - 1]);
        }
        // The first asks again, so the second is the oldest.
        connections.asks(one, &all[0]);
        assert!(!all.iter().any(cut));
        let more = enter();
        connections.asks(one, &more);
        assert!(cut(&all[1]) && !cut(&all[0]) && !cut(&more) && !cut(&others));
        // Those that have ended take no place.
        all.truncate(1);
        for _ in 2..AWAY_CONNECTIONS_OF_SESSION_MAX {
            all.push(enter());
            connections.asks(one, &all[all.len() - 1]);
        }
        assert!(!all.iter().any(cut) && !cut(&more) && !cut(&others));
    }

    #[test]
    fn sessions_and_strangers_together_do_not_fill_the_port() {
        let sessions = AWAY_SESSIONS_MAX * AWAY_CONNECTIONS_OF_SESSION_MAX;
        assert!(sessions + AWAY_STRANGERS_MAX <= AWAY_CONNECTIONS_MAX);
    }
}

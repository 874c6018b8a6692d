//! The outcome of a run in words.

use super::Guard;
use super::job::{End, Job, Reached};
use crate::domain::gate::lease::Over;
use crate::domain::policy::Kind;
use crate::domain::proposal::Status;

impl Guard {
    /// The outcome of a run that had to be made safe.
    pub(super) fn told(
        &self,
        job: &Job,
        reached: &Reached,
        lasted: u64,
        late: u64,
    ) -> (Status, String) {
        let view = self.view.borrow();
        let far = self.driver.gen1().map(|far| far.device.short());
        let safe = match &view.problem {
            None => match far {
                None => "it is in its safe state".to_owned(),
                Some(device) => {
                    format!("the gen-1 node {device} accepted {}", job.safe_state)
                }
            },
            Some(why) => format!(
                "it could not be made safe in {} attempts and is still being tried: {why}",
                view.tries
            ),
        };
        let action = &job.what;
        let over = match view.safe {
            true if late > job.overrun_max_ms() => {
                format!(", overran by {} s", late.div_ceil(1_000))
            }
            _ => String::new(),
        };
        let failed = |what: String| (Status::Failed, format!("{what}{over}; {safe}"));
        let unknown = |what: String| (Status::Unknown, format!("{what}{over}; {safe}"));
        match reached {
            Reached::Done | Reached::Moving(End::Deadline | End::Due)
                if view.safe && over.is_empty() =>
            {
                (
                    Status::Completed,
                    match far {
                        None if matches!(job.kind, Kind::Set { .. }) => {
                            format!("was set for {lasted} ms and is back in its safe state")
                        }
                        None if job.kind == Kind::Pulse => {
                            format!("pulsed {lasted} ms and is back in its safe state")
                        }
                        None => format!("ran {lasted} ms and is back in its safe state"),
                        Some(device) => format!(
                            "the gen-1 node {device} accepted {action}, and {} after {lasted} ms; whether anything \
                         moved it does not say",
                            job.safe_state
                        ),
                    },
                )
            }
            Reached::Moving(End::Lease(Over::Released { by, .. }))
                if view.safe && over.is_empty() =>
            {
                (
                    Status::Completed,
                    format!("released by {by} after {lasted} ms and is back in its safe state"),
                )
            }
            Reached::Moving(End::Lease(why)) => {
                failed(format!("ended after {lasted} ms: {}", lapse_in_words(why)))
            }
            Reached::Done | Reached::Moving(End::Deadline | End::Due) => {
                failed(format!("ran {lasted} ms"))
            }
            Reached::Moving(End::Cut(why)) => failed(format!("stopped after {lasted} ms: {why}")),
            Reached::Unanswered(why) => unknown(format!("{action}: {why}")),
            Reached::Starting(end) if far.is_some() => unknown(format!(
                "{action}: ended after {lasted} ms ({}) before the gen-1 node had answered, which may or may not \
                 have acted",
                match end {
                    End::Cut(why) => why.to_string(),
                    End::Deadline => "its time was up".to_owned(),
                    End::Due => "its sequence had ended".to_owned(),
                    End::Lease(why) => lapse_in_words(why),
                    End::Replaced(_) => "it was replaced".to_owned(),
                }
            )),
            Reached::Starting(End::Cut(why)) => failed(format!(
                "stopped after {lasted} ms, before {action} was done: {why}"
            )),
            // Only what moves is replaced, and that is told elsewhere.
            Reached::Starting(End::Replaced(_)) | Reached::Moving(End::Replaced(_)) => {
                failed("replaced".to_owned())
            }
            Reached::Starting(End::Lease(why)) => failed(format!(
                "ended after {lasted} ms, before {action} was done: {}",
                lapse_in_words(why)
            )),
            // Only what is away is due.
            Reached::Starting(End::Due) => {
                failed("its sequence ended before it was done".to_owned())
            }
            Reached::Starting(End::Deadline) => failed(format!(
                "{action} was not done within the {} ms of the whole run",
                job.run_ms
            )),
            Reached::Failed(why) => failed(format!("{action} failed: {why}")),
        }
    }
}

/// Why a lease is over, in a sentence.
fn lapse_in_words(over: &Over) -> String {
    match over {
        Over::Released { by, .. } => format!("{by} released it"),
        Over::Lapsed {
            holder: Some(holder),
            silent_ms,
            ..
        } => format!("its lease lapsed: {holder} held it and was last heard {silent_ms} ms before"),
        Over::Lapsed {
            holder: None,
            silent_ms,
            ..
        } => format!("its lease lapsed: nobody held it within {silent_ms} ms"),
    }
}

//! The course of a sequence that acts: what is done after what has happened. Pure; the executor tells it events and does
//! what it says. A step begins only when it is written ahead, in its order and once; after anything has gone wrong none
//! begins, and it is over when nothing that has begun is away from its safe state.

use super::status::Status;
use crate::domain::policy::Step;

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The pause before a step is over and its interlocks hold.
    Due(usize),
    /// The begin of a step is on disk.
    Noted(usize),
    /// The driver of a step has done what it was told: its actuator is away from its safe state.
    Away(usize),
    /// A step has ended, and its actuator is in its safe state or on the way there. One that never began ends too.
    Ended(usize, Status, String),
    /// Nothing further may begin, and what is away has to go to its safe state.
    Cut(String),
}

/// What is done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Do {
    /// Wait for the pause before a step, and look at its interlocks.
    Wait(usize),
    /// Write the begin of a step ahead.
    Note(usize),
    /// Begin a step.
    Begin(usize),
    /// Let a step that stays come to its end.
    Finish(usize),
    /// Cut short everything that has begun.
    Cut,
    /// Nothing more.
    Over,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Stage {
    /// It has not begun.
    Ahead,
    /// It is being written ahead.
    Noting,
    /// It has begun and is not known to be away.
    Begun,
    /// It is away from its safe state, as it should be.
    Away,
    /// Its end has been ordered.
    Finishing,
    /// It has ended.
    Ended(Status),
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Course {
    stays: Vec<bool>,
    stages: Vec<Stage>,
    /// The first thing that went wrong: the step in which, if in one, and what.
    fault: Option<(Option<usize>, String)>,
    /// Whether it was said that nothing more is done.
    over: bool,
}

impl Course {
    /// The course of these steps, and what is done first.
    pub fn begin(steps: &[Step]) -> (Self, Do) {
        let course = Self {
            stays: steps.iter().map(|s| s.stays).collect(),
            stages: vec![Stage::Ahead; steps.len()],
            fault: None,
            over: steps.is_empty(),
        };
        let first = match steps.is_empty() {
            true => Do::Over,
            false => Do::Wait(0),
        };
        (course, first)
    }

    fn stage(&self, n: usize) -> Option<&Stage> {
        self.stages.get(n)
    }

    fn set(&mut self, n: usize, stage: Stage) {
        if let Some(place) = self.stages.get_mut(n) {
            *place = stage;
        }
    }

    fn is_active(stage: &Stage) -> bool {
        matches!(stage, Stage::Begun | Stage::Away | Stage::Finishing)
    }

    /// Whether every step before this one is as it should be when it begins.
    fn is_next(&self, n: usize) -> bool {
        let before = self.stages.iter().zip(&self.stays).take(n);
        self.fault.is_none()
            && before.into_iter().all(|(stage, stays)| match stays {
                true => *stage == Stage::Away,
                false => *stage == Stage::Ended(Status::Completed),
            })
    }

    /// Takes an event; what is done then.
    pub fn on(&mut self, event: Event) -> Vec<Do> {
        match event {
            Event::Due(n) if self.is_next(n) && self.stage(n) == Some(&Stage::Ahead) => {
                self.set(n, Stage::Noting);
                vec![Do::Note(n)]
            }
            Event::Noted(n) if self.is_next(n) && self.stage(n) == Some(&Stage::Noting) => {
                self.set(n, Stage::Begun);
                vec![Do::Begin(n)]
            }
            Event::Away(n) if self.stage(n) == Some(&Stage::Begun) => {
                self.set(n, Stage::Away);
                match self.stays.get(n) {
                    Some(true) if self.fault.is_none() => self.after(n),
                    _ => Vec::new(),
                }
            }
            Event::Ended(n, status, why) if self.stage(n).is_some_and(Self::is_active) => {
                let stays = self.stays.get(n).copied().unwrap_or_default();
                let due = !stays || self.stage(n) == Some(&Stage::Finishing);
                self.set(n, Stage::Ended(status));
                if status != Status::Completed || !due {
                    return self.fails(Some(n), why);
                }
                match (&self.fault, stays) {
                    (Some(_), _) => self.rest(),
                    (None, true) => self.down(),
                    (None, false) => self.after(n),
                }
            }
            Event::Cut(why) => self.fails(None, why),
            // It comes too late to matter.
            Event::Due(_) | Event::Noted(_) | Event::Away(_) | Event::Ended(..) => Vec::new(),
        }
    }

    /// The step after one that is as it should be, or the way down.
    fn after(&mut self, n: usize) -> Vec<Do> {
        match n + 1 < self.stages.len() {
            true => vec![Do::Wait(n + 1)],
            false => self.down(),
        }
    }

    /// Every step has been: what stays comes to its end, the last one first.
    fn down(&mut self) -> Vec<Do> {
        let last = self.stages.iter().rposition(|s| *s == Stage::Away);
        match last {
            Some(n) => {
                self.set(n, Stage::Finishing);
                vec![Do::Finish(n)]
            }
            None => self.ends(),
        }
    }

    fn fails(&mut self, step: Option<usize>, why: String) -> Vec<Do> {
        if self.over {
            return Vec::new();
        }
        let mut next = Vec::new();
        if self.fault.is_none() {
            self.fault = Some((step, why));
            next.push(Do::Cut);
        }
        next.extend(self.rest());
        next
    }

    /// After a fault: it is over once nothing that has begun is under way.
    fn rest(&mut self) -> Vec<Do> {
        match self.stages.iter().any(Self::is_active) {
            true => Vec::new(),
            false => self.ends(),
        }
    }

    fn ends(&mut self) -> Vec<Do> {
        match std::mem::replace(&mut self.over, true) {
            true => Vec::new(),
            false => vec![Do::Over],
        }
    }

    /// The last step that has begun.
    pub fn reached(&self) -> Option<usize> {
        let begun = |stage: &Stage| !matches!(stage, Stage::Ahead | Stage::Noting);
        self.stages.iter().rposition(begun)
    }

    /// How it ended, and how in words.
    pub fn outcome(&self) -> (Status, String) {
        let count = self.stages.len();
        let Some((step, why)) = &self.fault else {
            return (Status::Completed, format!("all {count} steps were done"));
        };
        let unknown = self.stages.contains(&Stage::Ended(Status::Unknown));
        let status = match unknown {
            true => Status::Unknown,
            false => Status::Failed,
        };
        let begun = self.reached();
        let not_begun = match begun.map_or(0, |n| n + 1) {
            0 => "; no step had begun".to_owned(),
            n if n == count => String::new(),
            n if n + 1 == count => format!("; step {count} was not begun"),
            n => format!("; steps {} to {count} were not begun", n + 1),
        };
        let what = match step {
            Some(n) => format!("step {} of {count}: {why}", n + 1),
            None => why.clone(),
        };
        (status, format!("{what}{not_begun}"))
    }
}

//! The course of a sequence as a model: what its disk, its drivers, its guards and people do in every order. No step moves
//! that is not written ahead, none moves twice or out of its order, none begins after something went wrong, and whatever
//! happens the sequence is over at last, with nothing away from its safe state.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{HashSet, VecDeque};

use super::Status;
use super::course::{Course, Do, Event};
use crate::domain::capability::{Action, Params};
use crate::domain::policy::Step;

const STEPS: usize = 3;

fn step(n: usize, stays: bool) -> Step {
    let target = format!("actuator:part:p{n}").parse().unwrap();
    Step {
        action: Action::new(target, "start", Params::new()).unwrap(),
        wait_ms: 0,
        stays,
        run_ms: 1_000,
        pulse: false,
        safe_state: "stop".into(),
        rule: "part".into(),
    }
}

/// An actuator as its guard has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Safe,
    Told,
    Away,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    course: Course,
    stays: [bool; STEPS],
    /// What is awaited: the pause before a step, its write.
    waits: Option<usize>,
    notes: Option<usize>,
    noted: [bool; STEPS],
    parts: [Part; STEPS],
    moved: [u8; STEPS],
    due: [bool; STEPS],
    /// Whether the guards were told that it is cut short.
    cut: bool,
    over: bool,
}

#[derive(Debug, Clone, Copy)]
enum Deed {
    Due,
    InterlockOpen,
    Written,
    NotWritten,
    Moves(usize),
    Ends(usize, Status),
    Stop,
}

impl World {
    fn new(stays: [bool; STEPS]) -> Self {
        let steps: Vec<Step> = (0..STEPS).map(|n| step(n, stays[n])).collect();
        let (course, first) = Course::begin(&steps);
        let mut world = Self {
            course,
            stays,
            waits: None,
            notes: None,
            noted: [false; STEPS],
            parts: [Part::Safe; STEPS],
            moved: [0; STEPS],
            due: [false; STEPS],
            cut: false,
            over: false,
        };
        world.does(vec![first]).unwrap();
        world
    }

    /// What may happen now.
    fn deeds(&self) -> Vec<Deed> {
        let mut all = Vec::new();
        if self.over {
            return all;
        }
        if self.waits.is_some() {
            all.extend([Deed::Due, Deed::InterlockOpen]);
        }
        if self.notes.is_some() {
            all.extend([Deed::Written, Deed::NotWritten]);
        }
        for n in 0..STEPS {
            let (bad, unknown) = (
                Deed::Ends(n, Status::Failed),
                Deed::Ends(n, Status::Unknown),
            );
            match self.parts[n] {
                Part::Safe => {}
                Part::Told => all.extend([Deed::Moves(n), bad, unknown]),
                // Also a step that stays may come to its own limit.
                Part::Away => all.extend([Deed::Ends(n, Status::Completed), bad]),
            }
        }
        if !self.cut {
            all.push(Deed::Stop);
        }
        all
    }

    fn happens(&mut self, deed: Deed) -> Result<(), String> {
        let event = match deed {
            Deed::Due => Event::Due(self.waits.take().unwrap()),
            Deed::InterlockOpen => {
                self.waits = None;
                Event::Cut("an interlock".into())
            }
            Deed::Written => {
                let n = self.notes.take().unwrap();
                self.noted[n] = true;
                Event::Noted(n)
            }
            Deed::NotWritten => {
                self.notes = None;
                Event::Cut("the disk".into())
            }
            Deed::Moves(n) => {
                self.parts[n] = Part::Away;
                self.moved[n] += 1;
                Event::Away(n)
            }
            Deed::Ends(n, status) => {
                // Its guard cuts the others short by itself.
                let early = self.stays[n] && !self.due[n];
                self.cut |= status != Status::Completed || early;
                self.parts[n] = Part::Safe;
                Event::Ended(n, status, "ended".into())
            }
            Deed::Stop => {
                self.cut = true;
                Event::Cut("stopped".into())
            }
        };
        let next = self.course.on(event);
        self.does(next)
    }

    fn does(&mut self, all: Vec<Do>) -> Result<(), String> {
        for next in all {
            match next {
                Do::Wait(n) => self.waits = Some(n),
                Do::Note(n) => self.notes = Some(n),
                Do::Begin(n) => self.begins(n)?,
                Do::Finish(n) => {
                    self.due[n] = true;
                    let later = self.parts[n + 1..].iter();
                    if later.into_iter().any(|part| *part != Part::Safe) {
                        return Err(format!("step {n} comes to its end before a later one"));
                    }
                }
                Do::Cut => self.cut = true,
                Do::Over => self.over = true,
            }
        }
        Ok(())
    }

    fn begins(&mut self, n: usize) -> Result<(), String> {
        let earlier = (0..n).all(|m| match self.stays[m] {
            true => self.parts[m] == Part::Away,
            false => self.parts[m] == Part::Safe && self.moved[m] == 1,
        });
        if !self.noted[n] || !earlier || self.moved[n] > 0 || self.parts[n] != Part::Safe {
            return Err(format!("step {n} begins when it must not"));
        }
        if self.cut {
            // The guard refuses it.
            let next = self
                .course
                .on(Event::Ended(n, Status::Failed, "cut".into()));
            return self.does(next);
        }
        self.parts[n] = Part::Told;
        Ok(())
    }

    fn fault(&self) -> Option<String> {
        if let Some(n) = (0..STEPS).find(|n| self.moved[*n] > 1) {
            return Some(format!("step {n} moved twice"));
        }
        let (status, how) = self.course.outcome();
        let all_moved = self.moved == [1; STEPS];
        match (self.over, self.parts == [Part::Safe; STEPS]) {
            (true, false) => Some("it is over, and something is away".to_owned()),
            (true, true) if status == Status::Completed && (self.cut || !all_moved) => {
                Some(format!("it counts as done and is not: {how}"))
            }
            (true, true) => None,
            // Where a person could still stop it and nothing else could happen, it would last for ever.
            (false, _) => {
                let hangs = self.deeds().iter().all(|d| matches!(d, Deed::Stop));
                hangs.then(|| "it would never end".to_owned())
            }
        }
    }
}

/// Every order of what may happen; how many states there are and how many of them are a good end.
fn every_order(stays: [bool; STEPS]) -> Result<(usize, usize), String> {
    let begin = World::new(stays);
    let (mut seen, mut good) = (HashSet::from([begin.clone()]), 0);
    let mut next = VecDeque::from([(begin, Vec::new())]);
    while let Some((world, path)) = next.pop_front() {
        for deed in world.deeds() {
            let mut after = world.clone();
            let path: Vec<Deed> = path.iter().copied().chain([deed]).collect();
            let done = after.happens(deed);
            if let Some(fault) = done.err().or_else(|| after.fault()) {
                return Err(format!("{fault}: {path:?}"));
            }
            if seen.insert(after.clone()) {
                good += usize::from(after.over && after.course.outcome().0 == Status::Completed);
                next.push_back((after, path));
            }
        }
    }
    Ok((seen.len(), good))
}

#[test]
fn in_every_order_no_step_moves_unwritten_twice_or_after_a_fault_and_it_always_ends() {
    for stays in [
        [true, false, false],
        [true, true, false],
        [false, false, false],
        [false, true, false],
    ] {
        let (states, good) = every_order(stays).unwrap();
        assert!(states > 20, "{stays:?}: {states} states");
        assert_eq!(good, 1, "{stays:?}: it can be done in one way");
    }
}

//! The twin for tests: keeps what it was told, and fails as it was told to.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::{Notice, Notifier, Telling, Untold};

/// Keeps what it is told.
#[derive(Debug, Default)]
pub struct Noted {
    told: Mutex<Vec<Notice>>,
    faults: Mutex<VecDeque<Untold>>,
}

impl Noted {
    /// What it was told, oldest first.
    pub fn told(&self) -> Vec<Notice> {
        self.told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The next telling fails like this.
    pub fn fails(&self, fault: Untold) {
        self.faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(fault);
    }
}

impl Notifier for Noted {
    fn tell<'a>(&'a self, notice: &'a Notice) -> Telling<'a> {
        Box::pin(async move {
            let fault = self
                .faults
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front();
            match fault {
                Some(fault) => Err(fault),
                None => {
                    self.told
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(notice.clone());
                    Ok(())
                }
            }
        })
    }
}

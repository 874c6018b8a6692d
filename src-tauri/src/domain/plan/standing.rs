//! Standing questions: what a planner's model is asked without a person. What comes of it is an answer that people read, or
//! a wish that waits for one.

use super::cron::Cron;
use super::queue::Priority;
use super::rules::Watch;

/// What makes a standing question be asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// A time has come.
    At(Cron),
    /// A reading lies beyond a threshold.
    Beyond(Watch),
    /// So many milliseconds have passed, and the situation is another one.
    Every(u64),
}

/// A standing question.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Its name, unique among them; it stands for who asks.
    pub name: String,
    /// The question.
    pub text: String,
    /// What makes it be asked.
    pub ask: Ask,
    /// Whether only models that may see private data are asked.
    pub private: bool,
    /// Whether the model may ask for an action, which waits for a person.
    pub propose: bool,
}

impl Standing {
    /// Its place in the queue.
    pub fn priority(&self) -> Priority {
        match self.ask {
            Ask::Beyond(_) => Priority::Threshold,
            Ask::At(_) => Priority::Schedule,
            Ask::Every(_) => Priority::Proactive,
        }
    }

    /// Its schedule, if it has one.
    pub fn schedule(&self) -> Option<&Cron> {
        match &self.ask {
            Ask::At(cron) => Some(cron),
            _ => None,
        }
    }

    /// Its threshold, if it has one.
    pub fn watch(&self) -> Option<&Watch> {
        match &self.ask {
            Ask::Beyond(watch) => Some(watch),
            _ => None,
        }
    }

    /// When it is asked, in words.
    pub fn when(&self) -> String {
        match &self.ask {
            Ask::At(cron) => format!("at {cron}"),
            Ask::Beyond(w) => {
                let zone = w.zone.as_ref().map(|z| format!(" in {z}"));
                let zone = zone.unwrap_or_default();
                format!("{}{zone} {} {}", w.metric, w.comparison.sign(), w.threshold)
            }
            Ask::Every(ms) => format!("every {} min, if something has changed", ms / 60_000),
        }
    }
}

//! Conversations: what was said before with the same id goes along with the next question, and so does what is private in
//! it and who led to it. What is kept of one is what is kept of answered questions; there is no other memory, and one that is known no more
//! counts as private.

use super::led::Led;
use super::{Answered, Question, answered};
use crate::domain::base::limits::CONVERSATION_ID_MAX_CHARS;
use crate::domain::base::text::one_line;
use crate::domain::base::{Code, Refusal};
use crate::domain::inference::route::{About, Labels};
use crate::domain::plan::earlier::Pair;
use crate::node::planner::Planner;

/// The label of a conversation that a person calls private as a whole.
const MARKED: &str = "this conversation";
/// The label of a conversation whose own labels are no longer known.
const FORGOTTEN: &str = "this conversation, of which nothing is kept any more";

/// Which conversation a question belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Belongs {
    /// Its id; a new one where absent.
    pub conversation: Option<String>,
    /// Whether it is private from here on.
    pub private: bool,
    /// Whether it is asked again by itself where no model can be asked now.
    pub patient: bool,
}

impl Belongs {
    /// The id, or that of the question where it begins a conversation.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for what is no id.
    pub(super) fn id(&self, question: &str) -> Result<String, Refusal> {
        let Some(id) = &self.conversation else {
            return Ok(question.to_owned());
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        match !id.is_empty() && id.len() <= CONVERSATION_ID_MAX_CHARS && id.chars().all(plain) {
            true => Ok(id.clone()),
            false => Err(Refusal::new(
                Code::InvalidParams,
                format!(
                    "a conversation's id is the one an answer names: 1 to {CONVERSATION_ID_MAX_CHARS} letters, digits and '-'"
                ),
            )),
        }
    }
}

/// The earlier questions and answers of the conversation.
pub(super) struct Talk {
    /// Newest first.
    pub pairs: Vec<Pair>,
    /// Private labels in it; they apply to everything that follows.
    pub about: About,
    /// Who led to what was said.
    pub led: Led,
}

impl Talk {
    /// The conversation of a question. What was private in it once stays so, also where the configuration has changed.
    ///
    /// # Errors
    /// Whatever the store says.
    pub(super) async fn of(planner: &Planner, question: &Question) -> Result<Self, Refusal> {
        let labels = planner.inference.labels();
        let mut about = match question.private {
            true => About::private(MARKED),
            false => About::public(),
        };
        let (mut pairs, mut led) = (Vec::new(), Led::default());
        // A question that begins one has nothing before it.
        if question.conversation != question.id {
            for one in answered(planner).await? {
                // One that is asked again stands there already, with the answer of the rules.
                if one.conversation != question.conversation || one.id == question.id {
                    continue;
                }
                // Entries dated ahead, after the clock was set back, stay private too.
                about = about.and(private_in(labels, &one));
                led.add_answer(&one);
                if one.asked_at <= question.asked_at {
                    pairs.push(Pair {
                        question: one.question,
                        answer: one.answer,
                    });
                }
            }
            if pairs.is_empty() {
                about = about.and(About::private(FORGOTTEN));
            }
        }
        Ok(Self { pairs, about, led })
    }
}

/// The text of a question in events, which every device with `read` can read.
pub(super) fn in_events(text: &str, private: bool) -> String {
    match private {
        true => "something private".to_owned(),
        false => one_line(text, 200),
    }
}

/// The event of an answered question.
pub(super) fn was_asked(question: &Question, answered: &Answered) -> String {
    let what = in_events(&question.text, !answered.private.is_empty());
    let by = &question.by;
    match question.is_standing() {
        true => format!("The standing question {by:?} was asked: {what}"),
        false => format!("{by} asked the planner: {what}"),
    }
}

fn private_in(labels: &Labels, one: &Answered) -> About {
    let kept = one.private.iter().map(About::private);
    kept.fold(
        labels.text(&one.question).and(labels.text(&one.answer)),
        About::and,
    )
}

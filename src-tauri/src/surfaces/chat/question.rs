//! A question to the planner out of a chat. An answer that rests on private data is not shown.

use super::talk::{by, guarded, sentence};
use super::{Talk, words};
use crate::adapters::channel::{Message, Place};
use crate::node::channels::Member;
use crate::node::planner::Telling;
use crate::operator::dto::AskRequest;

/// Answers a question; one of an account at a time.
pub(super) async fn question(talk: &Talk, place: &Place, member: &Member, text: &str) {
    if text.is_empty() {
        return;
    }
    let new = {
        let mut asking = talk
            .asking
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        asking.insert(place.account.clone())
    };
    let said = match new {
        false => "Your last question is still being answered.".to_owned(),
        true => {
            let said = asked(talk, member, text).await;
            let mut asking = talk
                .asking
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            asking.remove(&place.account);
            said
        }
    };
    talk.say(&place.chat, Message::text(said)).await;
}

async fn asked(talk: &Talk, member: &Member, text: &str) -> String {
    let request = AskRequest {
        question: text.to_owned(),
        name: None,
        conversation: None,
        private: false,
        wait: false,
    };
    let account = format!("{} {}", talk.kind, member.account);
    let mut told = match talk.door.ask_planner(&request, &by(talk, member), &account) {
        Ok(told) => told,
        Err(refusal) => return sentence(&refusal),
    };
    while let Some(telling) = told.recv().await {
        match telling {
            Telling::Answered(answered) if !answered.private.is_empty() => {
                return "The answer rests on private data and is not shown in a chat; it is in the console.".to_owned();
            }
            Telling::Answered(answered) => {
                let mut said = words::lines_of(&answered.answer);
                for id in &answered.proposals {
                    said.push_str(&format!(
                        "\nProposal {} waits or is under way: {} {}",
                        words::short(id),
                        words::word(talk.kind, "approve"),
                        words::short(id)
                    ));
                }
                return said;
            }
            Telling::Failed { message, .. } => return guarded(talk, &message).await,
            _ => {}
        }
    }
    "The planner gave no answer.".to_owned()
}

//! The pieces of a reply on their way to the caller. A server that says the key back does not spread it: answers are
//! kept, and devices may read them.

use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;

use super::reading::Told;
use super::secret::{HIDDEN_FROM, Secret};
use crate::domain::inference::{Failure, FailureKind, Piece};

/// Says the pieces of a reply, without the key that the request was sent with.
pub(super) struct Mouth<'a> {
    say: &'a mpsc::Sender<Piece>,
    hiding: Mutex<Hiding<'a>>,
}

impl<'a> Mouth<'a> {
    pub(super) fn of(say: &'a mpsc::Sender<Piece>, key: Option<&'a Secret>) -> Self {
        let hiding = Mutex::new(Hiding::of(key));
        Self { say, hiding }
    }

    /// Says the pieces of one event.
    ///
    /// # Errors
    /// `Cancelled` where the receiver is gone.
    pub(super) async fn tell(&self, told: Told) -> Result<(), Failure> {
        for piece in told.pieces {
            for piece in self.hidden(piece) {
                let gone = |_| Failure::new(FailureKind::Cancelled, "whoever asked has gone");
                self.say.send(piece).await.map_err(gone)?;
            }
        }
        Ok(())
    }

    fn hidden(&self, piece: Piece) -> Vec<Piece> {
        let mut hiding = self.hiding.lock().unwrap_or_else(PoisonError::into_inner);
        let (said, then) = match piece {
            Piece::Text(text) => (hiding.take(&text), None),
            Piece::Call(mut call) => {
                let rest = hiding.rest();
                call.arguments = hiding.take(&call.arguments) + &hiding.rest();
                (rest, Some(Piece::Call(call)))
            }
            end @ Piece::End(_) => (hiding.rest(), Some(end)),
        };
        let said = Some(said).filter(|said| !said.is_empty()).map(Piece::Text);
        said.into_iter().chain(then).collect()
    }
}

/// Hides a key in a reply that comes in pieces, also where it is spread over several.
struct Hiding<'a> {
    key: Option<&'a Secret>,
    /// The end of what came, as far as the key may begin there.
    held: String,
}

impl<'a> Hiding<'a> {
    fn of(key: Option<&'a Secret>) -> Self {
        let key = key.filter(|key| key.reveal().len() >= HIDDEN_FROM);
        let held = String::new();
        Self { key, held }
    }

    /// The text that may be passed on after this piece.
    fn take(&mut self, text: &str) -> String {
        let Some(key) = self.key.map(Secret::reveal) else {
            return text.to_owned();
        };
        self.held.push_str(text);
        let mut said = self.held.replace(key, "[key]");
        let begins = |length: &usize| key.get(..*length).is_some_and(|k| said.ends_with(k));
        let length = (1..key.len()).rev().find(begins).unwrap_or(0);
        self.held = said.split_off(said.len() - length);
        said
    }

    /// The text held back, at the end of the stream.
    fn rest(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    #[test]
    fn a_key_is_hidden_however_it_is_cut_and_all_else_is_said() {
        let key = Secret::new(&Zeroizing::new("sk-aaab-aaac".to_owned())).ok();
        let text = "it is sk-aaab-aaac, or sk-aaab-aaab: sk-aaab-aaac";
        for size in 1..text.len() {
            let mut hiding = Hiding::of(key.as_ref());
            let mut said = String::new();
            let mut rest = text;
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(size.min(rest.len()));
                said += &hiding.take(piece);
                rest = after;
            }
            said += &hiding.rest();
            assert_eq!(
                said, "it is [key], or sk-aaab-aaab: [key]",
                "pieces of {size}"
            );
        }
        let mut none = Hiding::of(None);
        assert_eq!(none.take(text) + &none.rest(), text);
    }

    #[tokio::test]
    async fn pieces_stay_in_their_order_and_calls_are_cleaned() {
        let key = Secret::new(&Zeroizing::new("sk-12345678".to_owned())).ok();
        let (say, mut said) = mpsc::channel(9);
        let mouth = Mouth::of(&say, key.as_ref());
        let call = crate::domain::inference::ToolCall {
            id: "1".into(),
            name: "read".into(),
            arguments: r#"{"a":"sk-12345678"}"#.into(),
        };
        let pieces = vec![
            Piece::Text("a sk-123".into()),
            Piece::Call(call.clone()),
            Piece::Text("sk-12345678".into()),
            Piece::End(Default::default()),
        ];
        let told = Told {
            pieces,
            ended: true,
        };
        assert_eq!(mouth.tell(told).await, Ok(()));
        drop(mouth);
        drop(say);
        let mut all = Vec::new();
        while let Some(piece) = said.recv().await {
            all.push(piece);
        }
        let cleaned = crate::domain::inference::ToolCall {
            arguments: r#"{"a":"[key]"}"#.into(),
            ..call
        };
        assert_eq!(
            all,
            [
                Piece::Text("a ".into()),
                Piece::Text("sk-123".into()),
                Piece::Call(cleaned),
                Piece::Text("[key]".into()),
                Piece::End(Default::default()),
            ]
        );
    }
}

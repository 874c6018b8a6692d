//! What two nodes say to each other about a model (gen-1 §10): a request, its reply in numbered pieces, its end, and
//! that it is taken back. Between our own nodes whoever asked also says how much it has taken. Everything that comes in
//! is checked here for its form and its size; who may ask is decided elsewhere.

use serde_json::{Map, Value, json};

use super::super::base::limits::{
    MESH_MODEL_CHUNK_MAX_BYTES, MESH_MODEL_MESSAGES_MAX, MESH_MODEL_OUTPUT_TOKENS,
    MESH_MODEL_OUTPUT_TOKENS_MAX, MESH_MODEL_PIECE_MIN_BYTES, MESH_MODEL_PROMPT_MAX_BYTES,
    MESH_MODEL_SCHEMA_MAX_BYTES, MODEL_REPLY_MAX_BYTES, NAME_MAX_BYTES, TOKENS_SAID_MAX,
};
use super::super::base::number::whole;
use super::super::base::text::one_line;
use super::super::base::{Code, Refusal};
use super::{Failure, FailureKind, InferenceRequest, Message, ModelRef, Usage};

/// The request that asks.
pub const INFER: &str = "llm.infer";
/// The request that takes it back.
pub const CANCEL: &str = "llm.cancel";
/// The event with a piece of the reply.
pub const CHUNK: &str = "llm.chunk";
/// The event by which who asked says how much of the reply it has taken (feature `infer`).
pub const TAKEN: &str = "llm.taken";

/// Longest sentence of another device about a failure, in characters.
const SAID_MAX_CHARS: usize = 200;

fn invalid(why: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidParams, why)
}

/// The id of a request, which who asks has chosen.
///
/// # Errors
/// `INVALID_PARAMS`.
pub fn request_id(params: &Map<String, Value>) -> Result<String, Refusal> {
    let id = params.get("requestId").and_then(Value::as_str);
    id.filter(|id| !id.is_empty() && id.len() <= NAME_MAX_BYTES)
        .map(str::to_owned)
        .ok_or_else(|| invalid(format!("requestId must have 1 to {NAME_MAX_BYTES} bytes")))
}

/// What another device asks.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// Its id.
    pub id: String,
    /// Which model it asks.
    pub model: ModelRef,
    /// What it asks.
    pub request: InferenceRequest,
}

impl Asked {
    /// Reads the parameters of a request.
    ///
    /// # Errors
    /// `INVALID_PARAMS` that names the member, `TOO_LARGE`.
    pub fn parse(params: &Map<String, Value>) -> Result<Self, Refusal> {
        let id = request_id(params)?;
        let model = params.get("model").and_then(Value::as_str);
        let model = model.ok_or_else(|| invalid("model must be PROVIDER/MODEL"))?;
        let model = model.parse().map_err(invalid)?;
        let messages = match params.get("messages") {
            Some(Value::Array(list)) if !list.is_empty() => list,
            _ => return Err(invalid("llm.infer requires non-empty messages[]")),
        };
        if messages.len() > MESH_MODEL_MESSAGES_MAX {
            let why = format!("at most {MESH_MODEL_MESSAGES_MAX} messages are read");
            return Err(Refusal::new(Code::TooLarge, why));
        }
        let messages: Result<Vec<_>, _> = messages.iter().map(message).collect();
        let messages = messages?;
        let bytes: usize = messages.iter().map(|m| text_of(m).len()).sum();
        if bytes > MESH_MODEL_PROMPT_MAX_BYTES {
            let why = format!("the messages have more than {MESH_MODEL_PROMPT_MAX_BYTES} bytes");
            return Err(Refusal::new(Code::TooLarge, why));
        }
        Ok(Self {
            id,
            model,
            request: InferenceRequest {
                messages,
                tools: Vec::new(),
                max_output_tokens: most_tokens(params)?,
                schema: schema(params)?,
                temperature: temperature(params.get("temperature"))?,
            },
        })
    }
}

/// The temperature of a request.
///
/// # Errors
/// `INVALID_PARAMS`.
pub fn temperature(value: Option<&Value>) -> Result<Option<f64>, Refusal> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let number = value.as_f64().filter(|n| (0.0..=2.0).contains(n));
            let number = number.ok_or_else(|| invalid("temperature must be from 0 to 2"))?;
            Ok(Some(number))
        }
    }
}

fn most_tokens(params: &Map<String, Value>) -> Result<u32, Refusal> {
    match params.get("maxTokens") {
        None | Some(Value::Null) => Ok(MESH_MODEL_OUTPUT_TOKENS),
        Some(value) => {
            let asked = whole(value).filter(|n| *n > 0);
            let asked = asked.ok_or_else(|| invalid("maxTokens must be a whole number above 0"))?;
            let asked = u32::try_from(asked).unwrap_or(u32::MAX);
            Ok(asked.min(MESH_MODEL_OUTPUT_TOKENS_MAX))
        }
    }
}

fn schema(params: &Map<String, Value>) -> Result<Option<Value>, Refusal> {
    match params.get("schema") {
        None | Some(Value::Null) => Ok(None),
        Some(schema @ Value::Object(_)) => {
            match schema.to_string().len() <= MESH_MODEL_SCHEMA_MAX_BYTES {
                true => Ok(Some(schema.clone())),
                false => Err(Refusal::new(Code::TooLarge, "the schema is too large")),
            }
        }
        Some(_) => Err(invalid("schema must be an object")),
    }
}

fn message(value: &Value) -> Result<Message, Refusal> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let (role, content) = (text("role"), text("content").map(str::to_owned));
    match (role, content) {
        (Some("system"), Some(content)) => Ok(Message::System(content)),
        (Some("user"), Some(content)) => Ok(Message::User(content)),
        (Some("assistant"), Some(text)) => Ok(Message::Assistant {
            text,
            calls: Vec::new(),
        }),
        _ => Err(invalid(
            "messages must have role (system, user or assistant) and string content",
        )),
    }
}

pub(super) fn text_of(message: &Message) -> &str {
    match message {
        Message::System(text)
        | Message::User(text)
        | Message::Assistant { text, .. }
        | Message::Tool { text, .. } => text,
    }
}

/// The parameters of a request to a model of another device. A device of our own kind is also told the schema.
///
/// # Errors
/// `Refused`, if the request has what another device cannot be asked: tools, or more than it reads.
pub fn params(
    id: &str,
    model: &ModelRef,
    request: &InferenceRequest,
    kin: bool,
) -> Result<Value, Failure> {
    let refused = |why: &str| Err(Failure::new(FailureKind::Refused, why));
    let plain = |m: &Message| match m {
        Message::System(text) => Some(json!({"role": "system", "content": text})),
        Message::User(text) => Some(json!({"role": "user", "content": text})),
        Message::Assistant { text, calls } if calls.is_empty() => {
            Some(json!({"role": "assistant", "content": text}))
        }
        Message::Assistant { .. } | Message::Tool { .. } => None,
    };
    let messages: Option<Vec<Value>> = request.messages.iter().map(plain).collect();
    let Some(messages) = messages.filter(|_| request.tools.is_empty()) else {
        return refused("a model of another device calls no tools");
    };
    let bytes: usize = request.messages.iter().map(|m| text_of(m).len()).sum();
    if bytes > MESH_MODEL_PROMPT_MAX_BYTES || messages.len() > MESH_MODEL_MESSAGES_MAX {
        return refused("it is longer than what another device reads");
    }
    let mut params = json!({
        "requestId": id, "model": model, "messages": messages, "maxTokens": request.max_output_tokens,
    });
    if let Some(temperature) = request.temperature {
        params["temperature"] = json!(temperature);
    }
    if let Some(schema) = request.schema.as_ref().filter(|_| kin) {
        params["schema"] = schema.clone();
    }
    Ok(params)
}

/// A text in pieces of at most [`MESH_MODEL_CHUNK_MAX_BYTES`], cut between characters.
pub fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut end = rest.len().min(MESH_MODEL_CHUNK_MAX_BYTES);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (piece, after) = rest.split_at(end);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// What a piece counts of the window, in bytes: a small one costs memory too.
pub fn cost(piece: &str) -> usize {
    piece.len().max(MESH_MODEL_PIECE_MIN_BYTES)
}

/// The event with a piece.
pub fn chunk(id: &str, seq: u64, delta: &str) -> Value {
    json!({"requestId": id, "seq": seq, "delta": delta})
}

/// The pieces of one reply, as they come in.
#[derive(Debug, Default)]
pub struct Hearing {
    next: u64,
    bytes: usize,
}

impl Hearing {
    /// The text of the next piece.
    ///
    /// # Errors
    /// `BadReply` for one out of its turn, without text or too large, and for a reply that is too large.
    pub fn take(&mut self, payload: &Value) -> Result<String, Failure> {
        let bad = |why: &str| Err(Failure::new(FailureKind::BadReply, why));
        if payload.get("seq").and_then(whole) != Some(self.next) {
            return bad("a piece of the reply is missing or came out of its turn");
        }
        let Some(delta) = payload.get("delta").and_then(Value::as_str) else {
            return bad("a piece of the reply has no text");
        };
        self.next += 1;
        self.bytes += delta.len();
        if delta.len() > MESH_MODEL_CHUNK_MAX_BYTES || self.bytes > MODEL_REPLY_MAX_BYTES {
            return bad("the reply is larger than allowed");
        }
        Ok(delta.to_owned())
    }
}

/// The answer to a request whose reply has ended.
pub fn finished(id: &str, usage: &Usage) -> Value {
    let reason = if usage.cut { "length" } else { "stop" };
    let mut answer = json!({"requestId": id, "finishReason": reason});
    if usage.input_tokens > 0 || usage.output_tokens > 0 {
        answer["usage"] =
            json!({"inputTokens": usage.input_tokens, "outputTokens": usage.output_tokens});
    }
    answer
}

/// The answer to a request that was taken back.
pub fn cancelled(id: &str) -> Value {
    json!({"requestId": id, "finishReason": "cancelled"})
}

/// What the answer to a request says that a reply took. It is the other device's word, and bounded.
///
/// # Errors
/// `Unreachable` if the other device has ended it, `BadReply` for what is no answer.
pub fn read_finished(answer: &Value) -> Result<Usage, Failure> {
    let tokens = |name: &str| {
        let said = answer.get("usage").and_then(|u| u.get(name));
        said.and_then(whole).unwrap_or(0).min(TOKENS_SAID_MAX)
    };
    let cut = match answer.get("finishReason").and_then(Value::as_str) {
        Some("stop") => false,
        Some("length") => true,
        Some("cancelled") => {
            let why = "the other device ended its reply";
            return Err(Failure::new(FailureKind::Unreachable, why));
        }
        _ => {
            let why = "the other device's answer is no end of a reply";
            return Err(Failure::new(FailureKind::BadReply, why));
        }
    };
    Ok(Usage {
        input_tokens: tokens("inputTokens"),
        output_tokens: tokens("outputTokens"),
        cut,
    })
}

/// The failure that a refusal of another device means. Its sentence is made fit to be shown.
pub fn failure_of(device: &str, code: &str, message: &str) -> Failure {
    let kind = match Code::from_wire(code) {
        Some(Code::LlmBusy | Code::Busy) => FailureKind::RateLimited,
        Some(Code::OverBudget | Code::RateExceeded) => FailureKind::Budget,
        Some(Code::LlmTimeout | Code::Timeout) => FailureKind::Timeout,
        Some(Code::NotAuthorized) => FailureKind::Unauthorized,
        Some(Code::ExecutorUnreachable | Code::LlmCancelled) => FailureKind::Unreachable,
        Some(
            Code::LlmModelUnavailable | Code::InvalidParams | Code::TooLarge | Code::UnknownMethod,
        ) => FailureKind::Refused,
        _ => FailureKind::Server,
    };
    let (code, said) = (one_line(code, 40), one_line(message, SAID_MAX_CHARS));
    Failure::new(kind, format!("{device} answers {code}: {said}"))
}

/// The refusal that tells another device of a failure. What a provider said stays here: it may name places and accounts.
pub fn refusal_of(failure: &Failure) -> Refusal {
    match failure.kind {
        FailureKind::Timeout => Refusal::new(Code::LlmTimeout, "the model did not answer in time"),
        FailureKind::RateLimited => Refusal::new(Code::LlmBusy, "the model takes no more for now"),
        FailureKind::Budget => {
            Refusal::new(Code::OverBudget, "the budget of the model is used up today")
        }
        _ => Refusal::new(Code::LlmModelUnavailable, "the model cannot answer now"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn asked(params: Value) -> Result<Asked, Refusal> {
        Asked::parse(params.as_object().unwrap())
    }

    #[test]
    fn what_gen1_nodes_ask_is_read() {
        let all = asked(json!({
            "requestId": "r1", "model": "fake/model", "maxTokens": 10.0, "temperature": 0.5,
            "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}],
        }));
        let all = all.unwrap();
        assert_eq!((all.id.as_str(), all.request.max_output_tokens), ("r1", 10));
        assert_eq!(all.request.messages[1], Message::User("hi".into()));
        let again = params(&all.id, &all.model, &all.request, false).unwrap();
        assert_eq!(asked(again).unwrap(), all);
    }

    #[test]
    fn what_is_wrong_or_too_large_is_refused() {
        let with = |name: &str, value: Value| {
            let mut all = json!({"requestId": "r", "model": "a/b", "messages": [{"role": "user", "content": "x"}]});
            all[name] = value;
            asked(all).map_err(|refusal| refusal.code)
        };
        assert!(with("requestId", json!("r")).is_ok());
        let long = "x".repeat(MESH_MODEL_PROMPT_MAX_BYTES + 1);
        let many = vec![json!({"role": "user", "content": "x"}); MESH_MODEL_MESSAGES_MAX + 1];
        for (name, value, code) in [
            ("requestId", json!(""), Code::InvalidParams),
            ("requestId", json!("x".repeat(129)), Code::InvalidParams),
            ("model", json!("nothing"), Code::InvalidParams),
            ("messages", json!([]), Code::InvalidParams),
            (
                "messages",
                json!([{"role": "tool", "content": "x"}]),
                Code::InvalidParams,
            ),
            (
                "messages",
                json!([{"role": "user", "content": ["x"]}]),
                Code::InvalidParams,
            ),
            (
                "messages",
                json!([{"role": "user", "content": long}]),
                Code::TooLarge,
            ),
            ("messages", json!(many), Code::TooLarge),
            ("maxTokens", json!(-1), Code::InvalidParams),
            ("temperature", json!(3), Code::InvalidParams),
            ("schema", json!("x"), Code::InvalidParams),
        ] {
            assert_eq!(with(name, value.clone()), Err(code), "{name}");
        }
        let most = with("maxTokens", json!(1e15)).unwrap().request;
        assert_eq!(most.max_output_tokens, MESH_MODEL_OUTPUT_TOKENS_MAX);
    }

    #[test]
    fn a_text_is_cut_between_characters_and_put_together_again() {
        let text = "é".repeat(10_000);
        let sizes: Vec<usize> = pieces(&text).map(str::len).collect();
        assert_eq!(sizes, [8_192, 8_192, 3_616]);
        let mut hearing = Hearing::default();
        let heard: Result<String, Failure> = pieces(&text)
            .zip(0..)
            .map(|(piece, seq)| hearing.take(&chunk("r", seq, piece)))
            .collect();
        assert_eq!(heard, Ok(text));
        assert_eq!(pieces("").count(), 0);
    }

    #[test]
    fn a_reply_with_a_gap_or_without_an_end_in_sight_is_none() {
        for seq in [json!(1), json!(-1), json!("0"), Value::Null] {
            let mut hearing = Hearing::default();
            let bad = hearing.take(&json!({"seq": seq, "delta": "x"}));
            assert_eq!(bad.unwrap_err().kind, FailureKind::BadReply);
        }
        let mut hearing = Hearing::default();
        let piece = "x".repeat(MESH_MODEL_CHUNK_MAX_BYTES);
        let ended = (0..1_000).find_map(|seq| hearing.take(&chunk("r", seq, &piece)).err());
        assert_eq!(ended.unwrap().kind, FailureKind::BadReply);
        let large = format!("{piece}x");
        assert!(Hearing::default().take(&chunk("r", 0, &large)).is_err());
    }

    #[test]
    fn ends_and_refusals_are_read_and_bounded() {
        let usage = Usage {
            input_tokens: 1,
            output_tokens: 2,
            cut: true,
        };
        assert_eq!(read_finished(&finished("r", &usage)), Ok(usage));
        let lie = json!({"finishReason": "stop", "usage": {"outputTokens": 1e300, "inputTokens": u64::MAX}});
        assert!(read_finished(&lie).unwrap().input_tokens <= TOKENS_SAID_MAX);
        assert!(read_finished(&cancelled("r")).is_err() && read_finished(&json!(null)).is_err());
        let said = failure_of("hub", "LLM_BUSY\n", &"\u{202e}x\n".repeat(500));
        assert!(said.why.len() < 300 && !said.why.contains('\n'), "{said}");
        let hidden = Failure::new(FailureKind::Server, "http://10.0.0.1 said: account x");
        assert!(!refusal_of(&hidden).message.contains("account"));
    }
}

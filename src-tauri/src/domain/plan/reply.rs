//! What a model's reply asks of the runtime: untrusted text, read into a closed type. What it cannot set has no member
//! here: levels, tiers, sources, votes.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::choices::Kind;
use super::situation::Labels;
use crate::domain::base::limits::{
    EVIDENCE_MAX, MODEL_ANSWER_MAX_CHARS, NAME_MAX_BYTES, TEXT_MAX_CHARS,
};
use crate::domain::base::text::shown;
use crate::domain::base::{DeviceId, FrameId};
use crate::domain::capability::{Action, Params};

/// One thing that a model wants.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// It answers.
    Answer(Said),
    /// It looks readings up.
    QueryWorld {
        /// Only of this metric.
        metric: Option<String>,
        /// Only of this zone.
        zone: Option<String>,
    },
    /// It asks who can act.
    ListCapabilities,
    /// It asks what is open or was decided lately.
    ListProposals,
    /// It asks where an actuator stands.
    Read {
        /// The actuator.
        target: String,
    },
    /// It looks for earlier proposals.
    SearchMemory {
        /// The words to look for.
        text: String,
    },
    /// It asks for an action.
    Propose(Wish),
}

/// A model's answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// For people; bounded and fit to be shown.
    pub text: String,
    /// The frames it rests on, each one that the model was shown.
    pub cites: Vec<(FrameId, DeviceId)>,
    /// How many citations named nothing that the model was shown, and were dropped.
    pub dropped: usize,
}

/// An action that a model asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// The action.
    pub action: Action,
    /// Why.
    pub reason: String,
    /// The executor it names.
    pub executor: Option<String>,
    /// The zone it names.
    pub zone: Option<String>,
    /// The frames it rests on, each one that the model was shown.
    pub cites: Vec<(FrameId, DeviceId)>,
    /// How many citations were dropped.
    pub dropped: usize,
}

#[derive(Deserialize)]
struct Raw {
    step: String,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    cites: Option<Vec<String>>,
    #[serde(default)]
    metric: Option<String>,
    #[serde(default)]
    zone: Option<String>,
    #[serde(default, alias = "target")]
    actuator: Option<String>,
    #[serde(default)]
    operation: Option<String>,
    #[serde(default)]
    params: Option<Vec<String>>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    executor: Option<String>,
}

/// The JSON object in a reply: models wrap it in words or in a code fence where they are not held to the schema.
fn object(reply: &str) -> &str {
    match (reply.find('{'), reply.rfind('}')) {
        (Some(from), Some(to)) if from < to => reply.get(from..=to).unwrap_or(reply),
        _ => reply,
    }
}

/// The members of a step beside its name, whether it stands in `step` or, as models write it that are held to nothing, beside
/// it or without it.
fn flat(reply: Value) -> Value {
    let only = |map: &Map<String, Value>| match map.iter().next() {
        Some((name, Value::Object(inner))) if map.len() == 1 => Some((name.clone(), inner.clone())),
        _ => None,
    };
    let Value::Object(outer) = &reply else {
        return reply;
    };
    let step = match only(outer) {
        Some((name, inner)) if name == "step" => only(&inner),
        other => other,
    };
    match step {
        Some((name, mut inner)) => {
            inner.insert("step".to_owned(), json!(name));
            Value::Object(inner)
        }
        None => reply,
    }
}

/// A text that was given and says something.
fn given(text: Option<String>) -> Option<String> {
    text.map(|t| shown(t.trim(), NAME_MAX_BYTES))
        .filter(|t| !t.is_empty())
}

/// The frames that labels name, and how many name none.
fn cited(cites: Option<Vec<String>>, labels: &Labels) -> (Vec<(FrameId, DeviceId)>, usize) {
    let (mut frames, mut dropped) = (Vec::new(), 0);
    for cite in cites.unwrap_or_default() {
        let label = cite.trim().trim_matches(['[', ']']);
        match labels.get(label) {
            Some(frame) if frames.contains(frame) => {}
            Some(frame) if frames.len() < EVIDENCE_MAX => frames.push(frame.clone()),
            _ => dropped += 1,
        }
    }
    (frames, dropped)
}

/// A parameter's value as people write it on the command line: a number, `true`, `false`, else a text.
fn value(text: &str) -> Value {
    match text {
        "true" => json!(true),
        "false" => json!(false),
        _ => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(whole), _) => json!(whole),
            (_, Ok(number)) if number.is_finite() => json!(number),
            _ => json!(text),
        },
    }
}

fn params(list: Option<Vec<String>>) -> Result<Params, String> {
    let mut params = Params::new();
    for one in list.unwrap_or_default() {
        let (name, text) = one
            .split_once('=')
            .or_else(|| one.trim().split_once([':', ' ']))
            .ok_or_else(|| format!("params: {one:?} is not name=value"))?;
        if params
            .insert(name.trim().to_owned(), value(text.trim()))
            .is_some()
        {
            return Err(format!("params: {name:?} is given twice"));
        }
    }
    Ok(params)
}

/// Reads a reply. `labels` are those of everything that the model was shown.
///
/// # Errors
/// A sentence for the model that says what is wrong with it.
pub fn read(reply: &str, labels: &Labels) -> Result<Step, String> {
    let raw: Raw = serde_json::from_str(object(reply))
        .and_then(|value| serde_json::from_value(flat(value)))
        .map_err(|e| format!("the reply is not the JSON object that was asked for: {e}"))?;
    let needed = |name: &str, text: Option<String>| {
        given(text).ok_or_else(|| format!("step {:?} needs {name}", raw.step))
    };
    Ok(match raw.step.as_str() {
        "answer" => {
            let text = raw.text.unwrap_or_default();
            let text = shown(text.trim(), MODEL_ANSWER_MAX_CHARS);
            if text.is_empty() {
                return Err("step \"answer\" needs text".to_owned());
            }
            let (cites, dropped) = cited(raw.cites, labels);
            Step::Answer(Said {
                text,
                cites,
                dropped,
            })
        }
        "query_world" => Step::QueryWorld {
            metric: given(raw.metric),
            zone: given(raw.zone),
        },
        "list_capabilities" => Step::ListCapabilities,
        "list_proposals" => Step::ListProposals,
        "read" => Step::Read {
            target: needed("actuator", raw.actuator)?,
        },
        "search_memory" => Step::SearchMemory {
            text: needed("text", raw.text)?,
        },
        "propose" => {
            let target = needed("actuator", raw.actuator)?;
            let target = target.parse().map_err(|e| format!("actuator: {e}"))?;
            let operation = needed("operation", raw.operation)?;
            let action =
                Action::new(target, &operation, params(raw.params)?).map_err(|e| e.to_string())?;
            let reason = raw.reason.or(raw.text).unwrap_or_default();
            let (cites, dropped) = cited(raw.cites, labels);
            Step::Propose(Wish {
                action,
                reason: shown(reason.trim(), TEXT_MAX_CHARS),
                executor: given(raw.executor),
                zone: given(raw.zone),
                cites,
                dropped,
            })
        }
        other => {
            return Err(format!(
                "there is no step {:?}; the steps are {}",
                shown(other, 40),
                Kind::ALL.map(Kind::name).join(", ")
            ));
        }
    })
}

/// As much of an answer's text as a reply that is still being written shows, to be read while it comes. `None` where
/// it is no answer, or not yet known to be one.
pub fn so_far(reply: &str) -> Option<String> {
    let begin = reply.find('{')?;
    let mut chars = reply.get(begin + 1..)?.chars().peekable();
    let (mut within, mut name, mut is_answer) = (Vec::<String>::new(), None::<String>, false);
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                let (text, ended) = string(&mut chars);
                match (within.last().map(String::as_str), name.as_deref()) {
                    (None, Some("step")) if ended => is_answer = text == "answer",
                    (None, Some("text")) if is_answer => {
                        return Some(shown(&text, MODEL_ANSWER_MAX_CHARS));
                    }
                    (Some("answer"), Some("text")) => {
                        return Some(shown(&text, MODEL_ANSWER_MAX_CHARS));
                    }
                    _ => {}
                }
                if !ended {
                    return None;
                }
                while chars.next_if(|c| c.is_whitespace()).is_some() {}
                name = chars.next_if_eq(&':').map(|_| text);
            }
            '[' | '{' => within.push(name.take().unwrap_or_default()),
            ']' | '}' => drop(within.pop()),
            _ => {}
        }
    }
    None
}

/// The rest of a JSON string as far as it is there, and whether it has ended.
fn string(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> (String, bool) {
    let mut raw = String::new();
    let mut ended = false;
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                ended = true;
                break;
            }
            '\\' => {
                let Some(escaped) = chars.next() else { break };
                if escaped == 'u' {
                    let hex: String = chars.by_ref().take(4).collect();
                    if hex.len() < 4 {
                        break;
                    }
                    raw.push_str("\\u");
                    raw.push_str(&hex);
                } else {
                    raw.extend(['\\', escaped]);
                }
            }
            c => raw.push(c),
        }
    }
    // The second half of a pair that stands for one character may not have come yet.
    let text = serde_json::from_str(&format!("\"{raw}\""))
        .or_else(|_| {
            let whole = raw.rfind("\\u").and_then(|at| raw.get(..at));
            serde_json::from_str(&format!("\"{}\"", whole.unwrap_or_default()))
        })
        .unwrap_or_default();
    (text, ended)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use proptest::prelude::*;

    use super::*;

    fn labels() -> Labels {
        let frame = |n: u8| {
            let id = format!("f{n}").parse().unwrap();
            (format!("r{n}"), (id, DeviceId::of_public_key(&[n; 32])))
        };
        (1..=3).map(frame).collect()
    }

    #[test]
    fn an_answer_cites_what_was_shown_and_nothing_else() {
        let reply =
            r#"{"step":"answer","text":" Dry. ","cites":["r2","[r1]","r2","r9","frame-of-mine"]}"#;
        let Step::Answer(said) = read(reply, &labels()).unwrap() else {
            panic!()
        };
        assert_eq!((said.text.as_str(), said.dropped), ("Dry.", 2));
        let ids: Vec<&str> = said.cites.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, ["f2", "f1"]);
    }

    #[test]
    fn a_wish_has_no_member_for_what_a_model_may_not_set() {
        let reply = r#"Sure! ```json
            {"step":"propose","target":"actuator:mock:valve-1","operation":"open","params":["durationSec 10","gently=true"],
             "reason":"dry","cites":["r1"],"level":"L1","tier":"T3","requester":"person","approved":true,"taint":[],
             "sources":["human"],"executor":"field","zone":""}
            ```"#;
        let Step::Propose(wish) = read(reply, &labels()).unwrap() else {
            panic!()
        };
        assert_eq!(
            wish.action.summary(),
            "open actuator:mock:valve-1 (durationSec 10, gently true)"
        );
        assert_eq!((wish.executor.as_deref(), wish.zone), (Some("field"), None));
        assert_eq!(wish.cites.len(), 1);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (reply, what) in [
            ("", "not the JSON object"),
            ("I would open the valve.", "not the JSON object"),
            (r#"{"step":"approve","text":"p1"}"#, "no step \"approve\""),
            (r#"{"step":"answer","text":" "}"#, "needs text"),
            (r#"{"step":"read"}"#, "needs actuator"),
            (r#"{"step":{"read":{}}}"#, "needs actuator"),
            (
                r#"{"step":"propose","target":"actuator:x:y"}"#,
                "needs operation",
            ),
            (
                r#"{"step":{"propose":{"actuator":"valve","operation":"open"}}}"#,
                "actuator",
            ),
            (
                r#"{"step":"propose","target":"actuator:x:y","operation":"open","params":["a"]}"#,
                "name=value",
            ),
            (
                r#"{"step":"propose","target":"actuator:x:y","operation":"open","params":["a=1","a=2"]}"#,
                "twice",
            ),
        ] {
            let error = read(reply, &labels()).unwrap_err();
            assert!(error.contains(what), "{reply}: {error}");
        }
    }

    #[test]
    fn a_step_may_stand_in_the_reply_in_several_ways() {
        for reply in [
            r#"{"step":{"answer":{"cites":["r1"],"text":"Dry."}}}"#,
            r#"{"answer":{"cites":["r1"],"text":"Dry."}}"#,
            r#"{"step":"answer","cites":["r1"],"text":"Dry."}"#,
        ] {
            let Ok(Step::Answer(said)) = read(reply, &labels()) else {
                panic!("{reply}")
            };
            assert_eq!((said.text.as_str(), said.cites.len()), ("Dry.", 1));
            assert_eq!(so_far(&reply[..reply.len() - 1]).as_deref(), Some("Dry."));
        }
    }

    #[test]
    fn an_answer_is_shown_while_it_comes() {
        for (from, to) in [("", "}"), (r#"{"step":{"answer":"#, "}}}")] {
            grows(&format!(
                r#"{from}{{"cites":["text","r1"],"step":"answer","text":"Zone 1 is \"dry\"\n\ud83d\ude00 now","zone":null{to}"#
            ));
        }
        assert_eq!(so_far(r#"{"step":"propose","text":"open"#), None);
        assert_eq!(so_far(r#"{"step":{"search_memory":{"text":"open"#), None);
        assert_eq!(so_far(r#"{"text":"too early","#), None);
    }

    fn grows(reply: &str) {
        let mut last = String::new();
        for end in (0..=reply.len()).filter(|n| reply.is_char_boundary(*n)) {
            let Some(text) = so_far(&reply[..end]) else {
                continue;
            };
            assert!(text.starts_with(&last), "{last:?} then {text:?}");
            last = text;
        }
        assert_eq!(last, "Zone 1 is \"dry\"\n😀 now");
    }

    proptest! {
        #[test]
        fn no_reply_panics(reply in ".{0,200}", tail in r#"\{"step":"(answer|propose)","text":".{0,40}"#) {
            for text in [reply.clone(), format!("{tail}{reply}"), format!("{tail}\"}}{reply}")] {
                let _ = (read(&text, &labels()), so_far(&text));
            }
        }
    }
}

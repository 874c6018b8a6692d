//! One question from beginning to end: what the model is told, its replies, the tools it uses, its answer.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;

use super::led::Led;
use super::talk::Talk;
use super::tools::{self, By, Tools};
use super::{Answered, Answerer, Citation, Question, Telling};
use crate::adapters::store::{facts, proposals};
use crate::domain::base::limits::{
    MODEL_OUTPUT_TOKENS, MODEL_REPEATS_MAX, MODEL_REPLY_MAX_BYTES, MODEL_STEPS_MAX, QUERY_DEFAULT,
    REPLY_REPEATED_MAX_CHARS, TOKENS_SAID_MAX, TOOL_RESULT_MAX_CHARS,
};
use crate::domain::base::text::{cut, shown};
use crate::domain::base::{DeviceId, FrameId, Refusal, TierName, TimeMs};
use crate::domain::inference::route::About;
use crate::domain::inference::{Failure, FailureKind, InferenceRequest, Message, Piece, Usage};
use crate::domain::plan::answer::{Open, answer};
use crate::domain::plan::choices::Choices;
use crate::domain::plan::earlier;
use crate::domain::plan::reply::{self, Said, Step};
use crate::domain::plan::situation::{Situation, task};
use crate::domain::world::Fact;
use crate::node::context::{Context, store_refusal};
use crate::node::mesh_models;
use crate::node::planner::Planner;
use crate::node::privacy;

/// Told to the model: what happens to a wish when the asking device takes wishes back.
const WISHES_GO_THERE: &str = "The question came from another device. What you propose goes to that device with your answer; it \
    may ask for it in its own name, and you are not told what became of it. Nothing moves by it.";
/// Told to the model: what happens to a wish when the asking device does not take wishes back.
const NO_WISHES: &str = "The question came from another device, and leads to no proposal of this node. Where the person wants \
    something done, tell them which action they may propose at their own node.";

/// Sends a step to the asker. A slow reader misses steps and never the answer.
fn tell(planner: &Planner, question: &Question, step: String, telling: Telling) {
    planner.questions.set(|doing| doing.step = step);
    let _ = question.tell.try_send(telling);
}

fn internal(refusal: Refusal) -> Failure {
    Failure::new(FailureKind::Refused, refusal.to_string())
}

/// One reply of the model.
struct Reply {
    text: String,
    model: Option<String>,
    /// The other device that has the model.
    device: Option<DeviceId>,
    usage: Usage,
}

/// Asks the model once and reads its reply, telling an answer while it comes.
async fn reply_of(
    planner: &Planner,
    question: &Question,
    messages: &[Message],
    choices: &Choices,
    about: &About,
) -> Result<Reply, Failure> {
    if !question.may(planner).map_err(internal)?.model {
        let why = "whoever asks may use no model here any more";
        return Err(Failure::new(FailureKind::Refused, why));
    }
    let request = InferenceRequest {
        messages: messages.to_vec(),
        tools: Vec::new(),
        max_output_tokens: MODEL_OUTPUT_TOKENS,
        schema: Some(choices.schema()),
        // Temperature zero: the answer is to follow the data.
        temperature: Some(0.0),
    };
    let (route, mut pieces) = match &question.device {
        // The question of another device: models shared with it, counted in its share.
        Some(device) => mesh_models::ask_for(&planner.models, device, request, about)
            .await
            .map_err(|refusal| Failure::new(FailureKind::Budget, refusal.message))?,
        None => planner.inference.ask(request, about).await,
    };
    let model = route.chosen.as_ref().map(ToString::to_string);
    let why = route.explain();
    let step = format!("asks {}", model.as_deref().unwrap_or("no model"));
    tell(planner, question, step, Telling::Thinking { route: why });
    let (mut text, mut told, mut looked) = (String::new(), String::new(), 0);
    while let Some(piece) = pieces.next().await {
        match piece? {
            Piece::Text(more) => {
                if text.len() + more.len() > MODEL_REPLY_MAX_BYTES {
                    let why = format!("the reply is longer than {MODEL_REPLY_MAX_BYTES} bytes");
                    return Err(Failure::new(FailureKind::BadReply, why));
                }
                text.push_str(&more);
                // However small the pieces are, the whole is not read anew for each.
                if text.len() < looked + 16 + looked / 32 {
                    continue;
                }
                looked = text.len();
                let so_far = reply::so_far(&text).unwrap_or_default();
                if so_far.len() > told.len() {
                    told.clone_from(&so_far);
                    let writes = "writes its answer".to_owned();
                    tell(planner, question, writes, Telling::Text { text: so_far });
                }
            }
            // None was offered to it.
            Piece::Call(_) => {}
            Piece::End(usage) => {
                return Ok(Reply {
                    text,
                    model,
                    device: route.device,
                    usage,
                });
            }
        }
    }
    let why = "the reply ended without an end";
    Err(Failure::new(FailureKind::BadReply, why))
}

/// Told to a model that repeats a step.
const DONE_BEFORE: &str = "You did this before; what came of it stands above. Answer now.";

/// The result of a step.
async fn taken(
    planner: &Planner,
    question: &Question,
    step: Step,
    by: By<'_>,
    tools: &mut Tools,
    situation: &mut Situation,
) -> String {
    match (step, &question.wishes) {
        // They are none of this node's.
        (Step::Propose(wish), Some(noted)) => match planner.planner.pause() {
            Some(pause) => format!("Refused: {}", pause.refusal()),
            None => noted.note(wish, tools),
        },
        (Step::Propose(_), None) if !question.rights.propose => NO_WISHES.to_owned(),
        (step, _) => tools.run(planner, step, by, situation).await,
    }
}

/// Makes an answer of a model's reply, its private labels and its token count.
fn answered(
    context: &Context,
    question: &Question,
    (answer, private, tokens): (Said, Vec<String>, u64),
    (model, led): (Option<String>, Led),
    tools: &Tools,
    now: TimeMs,
) -> Answered {
    let cites = answer.cites.iter();
    Answered {
        id: question.id.clone(),
        conversation: question.conversation.clone(),
        private,
        question: question.text.clone(),
        asked_by: question.by.clone(),
        standing: question.is_standing(),
        answered_by: None,
        led_by: led.devices(),
        answer: answer.text,
        citations: cites.map(|frame| tools.citation(frame, now)).collect(),
        citations_dropped: answer.dropped,
        proposals: tools.proposed(),
        answerer: Answerer::Model,
        model,
        tier: TierName::T0,
        why: None,
        asked_at: question.asked_at,
        took_ms: context.now().0.saturating_sub(question.asked_at),
        tokens,
        queued: false,
    }
}

/// The answer of a model.
///
/// # Errors
/// Why no model answered.
pub(super) async fn of_model(planner: &Planner, question: &Question) -> Result<Answered, Failure> {
    let labels = planner.inference.labels();
    let talk = Talk::of(planner, question).await.map_err(internal)?;
    let about = talk.about.and(labels.text(&question.text));
    let mark = planner.fresh_id().map_err(internal)?.to_string();
    let private = about.is_private() && question.rights.private;
    let tools = Tools::load(planner, labels, private).await;
    let mut tools = tools.map_err(internal)?;
    let now = planner.now();
    let (topic, before) = (
        earlier::topic(&talk.pairs, &question.text),
        earlier::told(&talk.pairs, &mark),
    );
    let mut situation = Situation::of(&topic, &tools.known(), now, &mark);
    let may_wish = question.rights.propose || question.wishes.is_some();
    let mut choices = tools.choices(planner, may_wish);
    if let Some(noted) = &question.wishes {
        noted.clear();
    }
    let mut messages = vec![
        Message::System(task(tools::site(planner), &choices.steps, &mark)),
        Message::User(format!(
            "{before}{}\n{}Question: {}",
            situation.text,
            match (&question.device, &question.wishes) {
                (Some(_), Some(_)) => format!("{WISHES_GO_THERE}\n"),
                (Some(_), None) => format!("{NO_WISHES}\n"),
                (None, _) => String::new(),
            },
            question.text
        )),
    ];
    let (mut tokens, mut calls) = (0_u64, Vec::new());
    // A model reads the replies before its own as its own words: whoever gave one of them led to what comes of it, and so did
    // whoever gave an earlier answer of the conversation.
    let mut led = talk.led;
    for left in (0..MODEL_STEPS_MAX).rev() {
        if left == 0 {
            choices.steps.clear();
        }
        choices.labels = situation.labels.keys().cloned().collect();
        let said = reply_of(planner, question, &messages, &choices, &about).await?;
        led.add(said.device.as_ref());
        // Token counts as the server reports them.
        let usage = &said.usage;
        let used = usage.input_tokens.saturating_add(usage.output_tokens);
        tokens = used.min(TOKENS_SAID_MAX).saturating_add(tokens);
        let result = match reply::read(&said.text, &situation.labels) {
            Ok(Step::Answer(answer)) => {
                let told = (answer, about.what().to_vec(), tokens);
                let by = (said.model, led);
                return Ok(answered(planner, question, told, by, &tools, now));
            }
            Ok(step) => {
                let call = tools::call(&step);
                let repeated = calls.iter().filter(|c| **c == call).count();
                if repeated >= MODEL_REPEATS_MAX {
                    let why = format!("the model repeats {call:?} and gives no answer");
                    return Err(Failure::new(FailureKind::BadReply, why));
                }
                calls.push(call.clone());
                match repeated {
                    0 => choices.used(&step),
                    _ => choices.steps.clear(),
                }
                let by = By {
                    model: said.model.as_deref().unwrap_or("model"),
                    led: &led,
                };
                let result = match repeated {
                    0 => taken(planner, question, step, by, &mut tools, &mut situation).await,
                    _ => DONE_BEFORE.to_owned(),
                };
                let result = shown(&result, TOOL_RESULT_MAX_CHARS);
                let shown = Telling::Tool {
                    call: call.clone(),
                    result: result.clone(),
                };
                tell(planner, question, format!("used {call}"), shown);
                format!("DATA {mark}\n{result}\nEND {mark}")
            }
            Err(why) => {
                let again = Telling::Again { why: why.clone() };
                tell(planner, question, "asks again".to_owned(), again);
                format!("Your reply could not be used: {why}. Reply with the JSON object alone.")
            }
        };
        // Of a reply that cannot be used the model reads the beginning: the rest would only fill its memory.
        messages.push(Message::Assistant {
            text: cut(&said.text, REPLY_REPEATED_MAX_CHARS),
            calls: Vec::new(),
        });
        messages.push(Message::User(result));
    }
    let why = format!("the model gave no answer in {MODEL_STEPS_MAX} replies");
    Err(Failure::new(FailureKind::BadReply, why))
}

/// The answer of the planner of rules. `why` says why no model answered.
///
/// # Errors
/// Whatever the store says.
pub(super) async fn of_rules(
    planner: &Planner,
    question: &Question,
    why: Option<String>,
) -> Result<Answered, Refusal> {
    let labels = planner.inference.labels();
    let talk = Talk::of(planner, question).await?;
    let about = &talk.about;
    let at = planner.moment();
    let read = move |c: &rusqlite::Connection| {
        Ok((
            facts::numeric(c, at)?,
            proposals::open_list(c, QUERY_DEFAULT)?,
        ))
    };
    let read = planner.store.read("question", read).await;
    let (mut facts, open) = read.map_err(|e| store_refusal(&e))?;
    facts.retain(|f| question.rights.private || !privacy::is_private(labels, f));
    let open: Vec<Open> = open
        .iter()
        .map(|p| Open {
            id: p.id.as_str().to_owned(),
            summary: format!("{} {}", p.operation, p.target),
        })
        .collect();
    let now = planner.now();
    let said = answer(&question.text, &facts, &open, now);
    let cited = said.cites.iter();
    let read = cited.map(|f| {
        let labelled = labels.reading(f.zone.as_deref(), &f.metric);
        match f.private && !labelled.is_private() {
            true => About::private(format!("{} of another device", f.metric)),
            false => labelled,
        }
    });
    let words = labels.text(&question.text).and(labels.text(&said.message));
    let about = read.fold(about.clone().and(words), About::and);
    Ok(Answered {
        id: question.id.clone(),
        conversation: question.conversation.clone(),
        private: about.what().to_vec(),
        question: question.text.clone(),
        asked_by: question.by.clone(),
        standing: question.is_standing(),
        answered_by: None,
        led_by: talk.led.devices(),
        answer: said.message,
        citations: said.cites.iter().map(|f| citation(f, now)).collect(),
        citations_dropped: 0,
        proposals: Vec::new(),
        answerer: Answerer::Rules,
        model: None,
        tier: TierName::T1,
        why,
        asked_at: question.asked_at,
        took_ms: now.0.saturating_sub(question.asked_at),
        tokens: 0,
        queued: false,
    })
}

/// A reading as an answer cites it.
pub(super) fn citation(fact: &Fact, now: TimeMs) -> Citation {
    Citation {
        frame_id: fact.frame_id.as_str().to_owned(),
        origin: fact.origin.as_str().to_owned(),
        summary: crate::domain::plan::situation::reading(fact, now),
    }
}

/// Readings by the frame that carries them.
pub(super) type ByFrame = BTreeMap<(FrameId, DeviceId), Fact>;

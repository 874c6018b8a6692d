//! `model`: straight from the state directory, also while the node runs on it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::json;
use tokio::time::Instant;

use super::args::ModelCommand;
use super::context::Context;
use super::credential::credentials;
use super::fail::{Done, Failure};
use super::out;
use super::start::raw_config;
use crate::adapters::keystore::Credentials;
use crate::adapters::llm::variables_of;
use crate::domain::inference::budget::money;
use crate::domain::inference::route::{Candidate, Route, plan};
use crate::domain::inference::{InferenceRequest, Message, Piece, Usage};
use crate::node::RawConfig;
use crate::node::config::models::{ModelSettings, Models, of_flags};
use crate::node::inference::Served;
use crate::operator::model_token::ModelToken;

/// `model …`
///
/// # Errors
/// If the configuration cannot be used, or the model does not answer.
pub(super) async fn run(ctx: &Context, command: &ModelCommand) -> Done {
    match command {
        ModelCommand::List => list(ctx),
        ModelCommand::Explain { question } => explain(ctx, question),
        ModelCommand::Token { new } => token(ctx, *new),
        ModelCommand::Test { model, model_url } => test(ctx, model, model_url.as_deref()).await,
    }
}

fn configured(ctx: &Context, flags: RawConfig) -> Result<Models, Failure> {
    let file = raw_config(&ctx.dir)?.unwrap_or_default();
    let config = file.overlay(flags).resolve(ctx.dir.root().to_owned());
    Ok(config.map_err(Failure::usage)?.models)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Where the key of a model would come from.
fn key_of(model: &ModelSettings, set: &[String]) -> String {
    if model.model.is_of_mesh() {
        return "kept there".to_owned();
    }
    if set.contains(&model.key) {
        return model.key.clone();
    }
    let named = variables_of(model.model.provider())
        .iter()
        .filter(|_| model.usual);
    let found = named
        .into_iter()
        .find(|name| variable(name).is_some_and(|text| !text.is_empty()));
    match found {
        Some(name) => format!("${name}"),
        None if model.local() => "none".to_owned(),
        None => format!("none; credential set {}", model.key),
    }
}

fn candidate(model: &ModelSettings) -> Candidate {
    Candidate {
        model: model.model.clone(),
        local: model.local(),
        private: model.private,
        unfit: None,
    }
}

fn list(ctx: &Context) -> Done {
    let models = configured(ctx, RawConfig::default())?;
    let set: Vec<String> = Credentials::list(&ctx.dir)
        .map_err(Failure::state)?
        .into_iter()
        .map(|card| card.name)
        .collect();
    let place = |model: &ModelSettings| match model.local() {
        true => "this machine",
        false => "elsewhere",
    };
    if ctx.json {
        let view = |model: &ModelSettings| {
            json!({
                "model": model.model,
                "url": model.place.to_string(),
                "local": model.local(),
                "seesPrivate": candidate(model).sees_private(),
                "key": key_of(model, &set),
                "tokensPerDay": model.budget.tokens,
                "microsPerDay": model.budget.micros,
            })
        };
        return out::json(&models.all.iter().map(view).collect::<Vec<_>>());
    }
    let row = |model: &ModelSettings| {
        let tokens = model.budget.tokens.map(|n| format!("{n} tokens"));
        let paid = model.budget.micros.map(money);
        let budget: Vec<String> = tokens.into_iter().chain(paid).collect();
        vec![
            model.model.to_string(),
            model.place.to_string(),
            place(model).to_owned(),
            if candidate(model).sees_private() {
                "yes"
            } else {
                "no"
            }
            .to_owned(),
            key_of(model, &set),
            match budget.is_empty() {
                true => "no limit".to_owned(),
                false => format!("{} a day", budget.join(", ")),
            },
        ]
    };
    let rows: Vec<_> = models.all.iter().map(row).collect();
    let head = ["MODEL", "SERVER", "WHERE", "PRIVATE DATA", "KEY", "BUDGET"];
    let nothing = "no language model is configured; start with --model PROVIDER/MODEL, or add a [[model]] to config.toml";
    out::table(&head, &rows, nothing);
    Ok(())
}

/// The token of the model endpoint: it goes to stdout alone, to be copied or piped.
fn token(ctx: &Context, new: bool) -> Done {
    ctx.dir.prepare().map_err(Failure::state)?;
    let kept = match new {
        true => None,
        false => ModelToken::load(&ctx.dir).map_err(Failure::state)?,
    };
    let token = match kept {
        Some(token) => token,
        None => ModelToken::make(&ctx.dir).map_err(Failure::state)?,
    };
    match ctx.json {
        true => out::json(&json!({"token": token.reveal()})),
        false => {
            out::whole(token.reveal());
            Ok(())
        }
    }
}

fn explain(ctx: &Context, question: &str) -> Done {
    let models = configured(ctx, RawConfig::default())?;
    let about = models.labels.text(question);
    let all: Vec<_> = models.all.iter().map(candidate).collect();
    let (order, skipped) = plan(&all, &about, models.edge_first);
    let first = order.first().map(|index| &all[*index]);
    let route = Route {
        device: None,
        chosen: first.map(|one| one.model.clone()),
        local: first.is_some_and(|one| one.local),
        private: about.what().to_vec(),
        skipped,
        first_ms: 0,
    };
    if ctx.json {
        return out::json(&route);
    }
    out::line(&route.explain());
    let then: Vec<String> = order
        .iter()
        .skip(1)
        .map(|i| all[*i].model.to_string())
        .collect();
    if !then.is_empty() {
        out::line(&format!(
            "where it fails before it has said anything: {}",
            then.join(", then ")
        ));
    }
    out::line(
        "This is what the configuration says of the words of the question. Readings that are private count as well when \
         it is answered, and so do budgets and providers that failed lately.",
    );
    Ok(())
}

async fn test(ctx: &Context, model: &str, url: Option<&str>) -> Done {
    let wanted = of_flags(Some(model), url).map_err(Failure::usage)?;
    let flags = RawConfig {
        model: wanted.into_iter().collect(),
        ..RawConfig::default()
    };
    let settings = configured(ctx, flags)?.all.into_iter().next();
    let settings = settings.ok_or_else(|| Failure::usage("no model is named"))?;
    let served = Served::of(settings, credentials(ctx)?, variable);
    let request = InferenceRequest {
        messages: vec![Message::User(
            "Say in one short sentence that you are ready.".to_owned(),
        )],
        max_output_tokens: 64,
        ..InferenceRequest::default()
    };
    let begun = Instant::now();
    let mut pieces = served.model.infer(Arc::new(request));
    let (mut text, mut first, mut usage) = (String::new(), None, Usage::default());
    while let Some(piece) = pieces.next().await {
        match piece.map_err(|failure| Failure::failed(failure.why))? {
            Piece::Text(more) => {
                first.get_or_insert_with(|| begun.elapsed());
                text.push_str(&more);
            }
            Piece::Call(_) => {}
            Piece::End(took) => usage = took,
        }
    }
    let whole = begun.elapsed();
    let first = first.unwrap_or(whole);
    if ctx.json {
        return out::json(&json!({
            "model": served.settings.model,
            "url": served.settings.place.to_string(),
            "answer": text,
            "firstMs": first.as_millis(),
            "wholeMs": whole.as_millis(),
            "usage": usage,
            "micros": served.settings.price.of(&usage),
        }));
    }
    out::facts(&[
        ("model", served.settings.model.to_string()),
        ("server", served.settings.place.to_string()),
        ("answer", text.trim().to_owned()),
        ("began after", format!("{} ms", first.as_millis())),
        ("took", format!("{} ms", whole.as_millis())),
        (
            "tokens",
            format!(
                "{} read, {} written",
                usage.input_tokens, usage.output_tokens
            ),
        ),
        ("speed", speed(&usage, whole.saturating_sub(first))),
    ]);
    Ok(())
}

fn speed(usage: &Usage, writing: Duration) -> String {
    let ms = writing.as_millis();
    match (usage.output_tokens, ms) {
        (0, _) | (_, 0) => String::new(),
        // The first token came before this time began.
        (tokens, ms) => {
            let tenths = u128::from(tokens.saturating_sub(1)) * 10_000 / ms;
            format!("{}.{} tokens/s", tenths / 10, tenths % 10)
        }
    }
}

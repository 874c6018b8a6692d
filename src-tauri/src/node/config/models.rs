//! The models of a configuration: `[[model]]`, `[inference]`, and the flags that beat them.

use serde::Deserialize;

use super::{ConfigError, value};
use crate::adapters::keystore::credential_name;
use crate::adapters::llm::{Address, Reach, Speech, providers, speech_of, url_of};
use crate::domain::base::limits::{MODEL_REQUESTS_AT_ONCE, MODEL_REQUESTS_AT_ONCE_MAX, MODELS_MAX};
use crate::domain::inference::ModelRef;
use crate::domain::inference::budget::{Budget, Price};
use crate::domain::inference::route::Labels;

/// Most that a million tokens or a day may cost.
const MONEY_MAX: f64 = 1_000_000.0;

/// `[[model]]`: a model that questions may be asked of. The first one that may and can answer does.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawModel {
    /// PROVIDER/MODEL.
    pub name: String,
    /// Its server; the provider's own where absent.
    pub url: Option<String>,
    /// The credential that holds its key; `provider/PROVIDER` where absent.
    pub key: Option<String>,
    /// Whether it may see private data; where absent, if its server is on this machine.
    pub private: Option<bool>,
    /// What a million tokens read cost.
    pub input_price: Option<f64>,
    /// What a million tokens written cost.
    pub output_price: Option<f64>,
    /// Most tokens a day.
    pub tokens_per_day: Option<u64>,
    /// Most money a day.
    pub money_per_day: Option<f64>,
    /// How many requests its provider may have under way.
    pub at_once: Option<usize>,
}

/// `[inference]`: which model is asked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawInference {
    /// Whether models of this machine are asked before others.
    pub edge_first: bool,
    /// Zones whose readings are private.
    pub private_zones: Vec<String>,
    /// Metrics that are private.
    pub private_metrics: Vec<String>,
}

/// A model and all that is decided about it.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSettings {
    /// Which model.
    pub model: ModelRef,
    /// Its server.
    pub address: Address,
    /// How it is spoken to.
    pub speech: Speech,
    /// The credential that holds its key.
    pub key: String,
    /// Whether the server is the provider's own, so that the usual variables hold its key.
    pub usual: bool,
    /// Whether it may see private data, where that is said.
    pub private: Option<bool>,
    /// What it costs.
    pub price: Price,
    /// What it may use in a day.
    pub budget: Budget,
    /// How many requests its provider may have under way.
    pub at_once: usize,
}

impl ModelSettings {
    /// Whether its server is on this machine.
    pub fn local(&self) -> bool {
        self.address.reach() == Reach::Loopback
    }
}

/// Which models there are and how one is chosen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Models {
    /// In the order in which they are asked.
    pub all: Vec<ModelSettings>,
    /// Whether those of this machine come before others.
    pub edge_first: bool,
    /// What is private.
    pub labels: Labels,
}

/// The model that the flags `--model` and `--model-url` name.
///
/// # Errors
/// If there is a URL without a model.
pub fn of_flags(model: Option<&str>, url: Option<&str>) -> Result<Option<RawModel>, ConfigError> {
    match (model, url) {
        (None, Some(_)) => Err(value(
            "--model-url",
            "say which model is there with --model PROVIDER/MODEL",
        )),
        (None, None) => Ok(None),
        (Some(name), url) => Ok(Some(RawModel {
            name: name.to_owned(),
            url: url.map(str::to_owned),
            ..RawModel::default()
        })),
    }
}

/// Puts the models of flags before those of the file; one that the file has keeps what is said of it there.
pub(super) fn overlay(file: &mut Vec<RawModel>, flags: Vec<RawModel>) {
    for (place, flag) in flags.into_iter().enumerate() {
        let known = file.iter().position(|one| one.name == flag.name);
        let mut one = known.map(|at| file.remove(at)).unwrap_or_default();
        one.name = flag.name;
        one.url = flag.url.or(one.url);
        file.insert(place.min(file.len()), one);
    }
}

pub(super) fn resolve(all: Vec<RawModel>, chosen: RawInference) -> Result<Models, ConfigError> {
    if all.len() > MODELS_MAX {
        return Err(value("model", format!("at most {MODELS_MAX} are allowed")));
    }
    let mut models: Vec<ModelSettings> = Vec::new();
    for raw in all {
        let model = raw.resolve()?;
        if models.iter().any(|known| known.model == model.model) {
            return Err(value(
                "model",
                format!("{} stands there twice", model.model),
            ));
        }
        models.push(model);
    }
    Ok(Models {
        all: models,
        edge_first: chosen.edge_first,
        labels: Labels::new(chosen.private_zones, chosen.private_metrics),
    })
}

impl RawModel {
    fn resolve(self) -> Result<ModelSettings, ConfigError> {
        let key = format!("model {:?}", self.name);
        let bad = |why: String| value(&key, why);
        let model: ModelRef = self.name.parse().map_err(&bad)?;
        let own = url_of(model.provider());
        let url = self.url.as_deref().or(own).ok_or_else(|| {
            let known: Vec<_> = providers().collect();
            bad(format!(
                "the provider {} is not known here ({} are): write its url, as in url = \"http://127.0.0.1:8080/v1\", or \
                 start with --model-url",
                model.provider(),
                known.join(", ")
            ))
        })?;
        let credential = match self.key {
            Some(name) => name,
            None => format!("provider/{}", model.provider()),
        };
        credential_name(&credential).map_err(|why| bad(format!("key: {why}")))?;
        let money = |name: &str, amount: Option<f64>| match amount {
            None => Ok(None),
            Some(amount) if (0.0..=MONEY_MAX).contains(&amount) => Ok(Some(micros(amount))),
            Some(_) => Err(bad(format!("{name} must be from 0 to {MONEY_MAX}"))),
        };
        let at_once = self.at_once.unwrap_or(MODEL_REQUESTS_AT_ONCE);
        if !(1..=MODEL_REQUESTS_AT_ONCE_MAX).contains(&at_once) {
            let why = format!("at_once must be from 1 to {MODEL_REQUESTS_AT_ONCE_MAX}");
            return Err(bad(why));
        }
        Ok(ModelSettings {
            address: Address::parse(url).map_err(&bad)?,
            speech: speech_of(model.provider()),
            key: credential,
            usual: Some(url) == own,
            private: self.private,
            price: Price {
                input_micros: money("input_price", self.input_price)?.unwrap_or(0),
                output_micros: money("output_price", self.output_price)?.unwrap_or(0),
            },
            budget: Budget {
                tokens: self.tokens_per_day,
                micros: money("money_per_day", self.money_per_day)?,
            },
            at_once,
            model,
        })
    }
}

/// An amount that was checked, in millionths.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it was checked to lie between 0 and a million"
)]
fn micros(amount: f64) -> u64 {
    (amount * 1_000_000.0).round() as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::node::RawConfig;

    fn models(text: &str) -> Result<Models, String> {
        let raw = RawConfig::parse(text, "config.toml").map_err(|e| e.to_string())?;
        let config = raw.resolve("/nowhere".into()).map_err(|e| e.to_string())?;
        Ok(config.models)
    }

    #[test]
    fn models_are_read_with_their_price_budget_and_place() {
        let models = models(
            r#"
            [[model]]
            name = "anthropic/claude-x"
            input_price = 3.0
            output_price = 15.0
            money_per_day = 0.5
            tokens_per_day = 1000
            [[model]]
            name = "ollama/qwen2.5:1.5b"
            [[model]]
            name = "litellm/x"
            url = "https://gate.example.org/v1"
            key = "provider/gate"
            private = true
            at_once = 1
            [inference]
            edge_first = true
            private_zones = ["bedroom"]
            "#,
        )
        .unwrap();
        let [cloud, local, gate] = &models.all[..] else {
            panic!("{models:?}");
        };
        assert_eq!(cloud.price.output_micros, 15_000_000);
        assert_eq!(cloud.budget.micros, Some(500_000));
        assert_eq!((cloud.speech, cloud.usual), (Speech::Anthropic, true));
        assert_eq!(cloud.key, "provider/anthropic");
        assert!(local.local() && !cloud.local() && !gate.local());
        assert_eq!((gate.key.as_str(), gate.usual), ("provider/gate", false));
        assert!(models.edge_first && models.labels.text("the bedroom").is_private());
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (text, says) in [
            ("name = \"x\"", "PROVIDER/MODEL"),
            ("name = \"acme/x\"", "write its url"),
            ("name = \"acme/x\"\nurl = \"example.org\"", "http"),
            ("name = \"ollama/x\"\nkey = \"sk-123\"", "provider/NAME"),
            ("name = \"ollama/x\"\ninput_price = -1.0", "input_price"),
            ("name = \"ollama/x\"\nmoney_per_day = nan", "money_per_day"),
            ("name = \"ollama/x\"\nat_once = 0", "at_once"),
            ("name = \"ollama/x\"\nprice = 1", "price"),
            (
                "name = \"ollama/x\"\n[[model]]\nname = \"ollama/x\"",
                "twice",
            ),
        ] {
            let error = models(&format!("[[model]]\n{text}\n")).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_flag_comes_first_and_keeps_what_the_file_says_of_it() {
        let text =
            "[[model]]\nname = \"openai/a\"\n[[model]]\nname = \"ollama/b\"\nprivate = false\n";
        let file = RawConfig::parse(text, "config.toml").unwrap();
        let flag = of_flags(Some("ollama/b"), Some("http://127.0.0.1:9/v1")).unwrap();
        let flags = RawConfig {
            model: flag.into_iter().collect(),
            ..RawConfig::default()
        };
        let models = file
            .overlay(flags)
            .resolve("/nowhere".into())
            .unwrap()
            .models;
        let names: Vec<_> = models.all.iter().map(|m| m.model.to_string()).collect();
        assert_eq!(names, ["ollama/b", "openai/a"]);
        assert_eq!(
            (models.all[0].private, models.all[0].address.port),
            (Some(false), 9)
        );
        assert!(of_flags(None, Some("http://a")).is_err());
    }
}

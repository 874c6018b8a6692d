//! The models of a configuration: `[[model]]`, `[inference]`, and the flags that beat them.

use std::fmt;

use serde::Deserialize;

use super::{ConfigError, value};
use crate::adapters::keystore::credential_name;
use crate::adapters::llm::{Address, Reach, Speech, providers, speech_of, url_of};
use crate::domain::base::DeviceId;
use crate::domain::base::limits::{
    MESH_MODEL_REQUESTS_AT_ONCE, MESH_MODEL_REQUESTS_AT_ONCE_MAX, MESH_MODEL_REQUESTS_PER_DAY,
    MESH_MODEL_TOKENS_PER_DAY, MODEL_REQUESTS_AT_ONCE, MODEL_REQUESTS_AT_ONCE_MAX, MODELS_MAX,
};
use crate::domain::capability::Capability;
use crate::domain::inference::budget::{Budget, Price};
use crate::domain::inference::route::Labels;
use crate::domain::inference::{MeshModel, ModelRef};

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
    /// The price of a million tokens read.
    pub input_price: Option<f64>,
    /// The price of a million tokens written.
    pub output_price: Option<f64>,
    /// Most tokens a day.
    pub tokens_per_day: Option<u64>,
    /// Most money a day.
    pub money_per_day: Option<f64>,
    /// How many requests its provider may have under way.
    pub at_once: Option<usize>,
    /// Whether trusted devices with the grant `llm` may use it.
    pub share: bool,
}

/// `[inference]`: which model is asked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawInference {
    /// Whether models of this machine are asked before others.
    pub edge_first: bool,
    /// As `zones` of `[privacy]`.
    pub private_zones: Vec<String>,
    /// As `metrics` of `[privacy]`.
    pub private_metrics: Vec<String>,
    /// Whether `infer` and the model endpoint use what other devices offer and no `[[model]]` names; yes where absent.
    pub use_mesh: Option<bool>,
    /// Requests of one other device in a day.
    pub peer_requests_per_day: Option<u64>,
    /// Tokens of one other device in a day.
    pub peer_tokens_per_day: Option<u64>,
    /// Requests of other devices that are answered at once.
    pub peer_requests_at_once: Option<usize>,
}

/// Where a model is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// At a server.
    Server(Address),
    /// At another device of the mesh.
    Device(MeshModel),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Server(address) => address.fmt(f),
            Place::Device(MeshModel { device, .. }) => match device {
                Some(device) => write!(f, "device {device}"),
                None => f.write_str("any device that offers it"),
            },
        }
    }
}

/// The shares of other devices in the models that are shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lending {
    /// Requests of one device in a day.
    pub requests_per_day: u64,
    /// Tokens of one device in a day, read and written.
    pub tokens_per_day: u64,
    /// Requests of all of them that are answered at once.
    pub at_once: usize,
}

impl Default for Lending {
    fn default() -> Self {
        Self {
            requests_per_day: MESH_MODEL_REQUESTS_PER_DAY,
            tokens_per_day: MESH_MODEL_TOKENS_PER_DAY,
            at_once: MESH_MODEL_REQUESTS_AT_ONCE,
        }
    }
}

/// A model and all that is decided about it.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSettings {
    /// Which model.
    pub model: ModelRef,
    /// Where it is asked.
    pub place: Place,
    /// How it is spoken to.
    pub speech: Speech,
    /// The credential that holds its key.
    pub key: String,
    /// Whether the server is the provider's own, so that the usual variables hold its key.
    pub usual: bool,
    /// Whether it may see private data, where that is said.
    pub private: Option<bool>,
    /// Its price.
    pub price: Price,
    /// Its budget for a day.
    pub budget: Budget,
    /// How many requests its provider may have under way.
    pub at_once: usize,
    /// Whether trusted devices with the grant `llm` may use it.
    pub share: bool,
}

impl ModelSettings {
    /// Whether its server is on this machine.
    pub fn local(&self) -> bool {
        match &self.place {
            Place::Server(address) => address.reach() == Reach::Loopback,
            Place::Device(_) => false,
        }
    }

    /// As which other devices are told of it; none where it is not shared.
    pub fn offered(&self) -> Option<Capability> {
        capability(&self.model).ok().filter(|_| self.share)
    }
}

/// A model as a capability, which has small letters alone.
fn capability(model: &ModelRef) -> Result<Capability, String> {
    let text = format!("llm:{model}").to_lowercase();
    text.parse().map_err(|_| {
        format!(
            "share: {model} cannot be offered to other devices: a capability is made of letters, digits and - _ . / :, \
             with at most two colons in a model's name"
        )
    })
}

/// Which models there are and how one is chosen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Models {
    /// In the order in which they are asked.
    pub all: Vec<ModelSettings>,
    /// Whether those of this machine come before others.
    pub edge_first: bool,
    /// The labels of private data.
    pub labels: Labels,
    /// Whether `infer` and the model endpoint use models of other devices that none of these names.
    pub use_mesh: bool,
    /// The shares of other devices in those that are shared.
    pub lending: Lending,
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

pub(super) fn resolve(
    all: Vec<RawModel>,
    chosen: RawInference,
    labels: Labels,
) -> Result<Models, ConfigError> {
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
        use_mesh: chosen.use_mesh.unwrap_or(true),
        lending: chosen.lending()?,
        labels,
    })
}

impl RawInference {
    fn lending(&self) -> Result<Lending, ConfigError> {
        let usual = Lending::default();
        let at_once = self.peer_requests_at_once.unwrap_or(usual.at_once);
        if !(1..=MESH_MODEL_REQUESTS_AT_ONCE_MAX).contains(&at_once) {
            let why = format!("must be from 1 to {MESH_MODEL_REQUESTS_AT_ONCE_MAX}");
            return Err(value("inference.peer_requests_at_once", why));
        }
        Ok(Lending {
            requests_per_day: self.peer_requests_per_day.unwrap_or(usual.requests_per_day),
            tokens_per_day: self.peer_tokens_per_day.unwrap_or(usual.tokens_per_day),
            at_once,
        })
    }
}

impl RawModel {
    /// Its server.
    fn server(&self, model: &ModelRef, own: Option<&str>) -> Result<Address, String> {
        let url = self.url.as_deref().or(own).ok_or_else(|| {
            let known: Vec<_> = providers().collect();
            format!(
                "the provider {} is not known here ({} are): write its url, as in url = \"http://127.0.0.1:8080/v1\", or \
                 start with --model-url",
                model.provider(),
                known.join(", ")
            )
        })?;
        Address::parse(url)
    }

    /// The device that has it. What a device is called is its own word, so private data goes only to one that is named
    /// by its id.
    fn at_device(&self, model: &ModelRef) -> Result<MeshModel, String> {
        let there = model.of_mesh()?;
        if self.url.is_some() || self.key.is_some() {
            return Err("a model of another device has neither url nor key here".to_owned());
        }
        if self.share {
            return Err("share: a model of another device is not offered on".to_owned());
        }
        let by_id = |device: &String| device.parse::<DeviceId>().is_ok();
        if self.private == Some(true) && !there.device.as_ref().is_some_and(by_id) {
            return Err(
                "private: name the device by its whole id, as in mesh/<64 hex digits>/PROVIDER/MODEL; a name is what a \
                 device says of itself"
                    .to_owned(),
            );
        }
        Ok(there)
    }

    fn resolve(self) -> Result<ModelSettings, ConfigError> {
        let key = format!("model {:?}", self.name);
        let bad = |why: String| value(&key, why);
        let model: ModelRef = self.name.parse().map_err(&bad)?;
        let own = url_of(model.provider());
        let place = match model.is_of_mesh() {
            true => Place::Device(self.at_device(&model).map_err(&bad)?),
            false => Place::Server(self.server(&model, own).map_err(&bad)?),
        };
        if self.share {
            capability(&model).map_err(&bad)?;
        }
        let credential = match self.key {
            Some(name) => name,
            None => format!("provider/{}", model.provider()),
        };
        credential_name(&credential).map_err(|why| bad(format!("key: {why}")))?;
        if !credential.starts_with("provider/") {
            let why = "that is the password of a device, which no provider of models is to have: name provider/NAME";
            return Err(bad(format!("key: {why}")));
        }
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
            place,
            speech: speech_of(model.provider()),
            key: credential,
            usual: self.url.as_deref().or(own) == own,
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
            share: self.share,
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
        assert!(models.use_mesh && models.lending == Lending::default());
        assert!(models.all.iter().all(|m| m.offered().is_none()));
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
    fn a_model_is_shared_only_where_that_is_said_and_one_of_another_device_never() {
        let shared = models(
            "[[model]]\nname = \"ollama/Qwen/Q2:1.5b\"\nshare = true\n[[model]]\nname = \"mesh/hub/ollama/x\"\n\
             [inference]\nuse_mesh = false\npeer_requests_per_day = 0\npeer_requests_at_once = 4",
        );
        let shared = shared.unwrap();
        let offered = shared.all[0].offered().unwrap();
        assert_eq!(offered.as_str(), "llm:ollama/qwen/q2:1.5b");
        assert!(shared.all[1].offered().is_none() && !shared.all[1].local());
        assert_eq!((shared.use_mesh, shared.lending.at_once), (false, 4));
        let id = "ab".repeat(32);
        let name = format!("name = \"mesh/{id}/ollama/x\"\nprivate = true");
        assert!(models(&format!("[[model]]\n{name}")).is_ok());
        for (text, says) in [
            (
                "name = \"mesh/hub/ollama/x\"\nprivate = true",
                "by its whole id",
            ),
            (
                "name = \"mesh/*/ollama/x\"\nprivate = true",
                "by its whole id",
            ),
            (
                "name = \"mesh/hub/ollama/x\"\nshare = true",
                "not offered on",
            ),
            (
                "name = \"mesh/hub/ollama/x\"\nurl = \"http://a\"",
                "neither url",
            ),
            ("name = \"mesh/hub\"", "mesh/DEVICE"),
            ("name = \"ollama/x@y\"\nshare = true", "cannot be offered"),
            (
                "name = \"ollama/a:b:c:d\"\nshare = true",
                "cannot be offered",
            ),
        ] {
            let error = models(&format!("[[model]]\n{text}\n")).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        let error = models("[inference]\npeer_requests_at_once = 0").unwrap_err();
        assert!(error.contains("peer_requests_at_once"), "{error}");
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
            (models.all[0].private, models.all[0].place.to_string()),
            (Some(false), "http://127.0.0.1:9/v1".to_owned())
        );
        assert!(of_flags(None, Some("http://a")).is_err());
    }
}

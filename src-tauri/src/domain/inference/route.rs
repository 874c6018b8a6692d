//! Which models a question may go to, and why not to the others. Data that is labelled private goes only to models that
//! the operator names for it; where nothing is said, to those on this machine alone.

use serde::Serialize;

use super::ModelRef;
use crate::domain::base::DeviceId;
use crate::domain::base::text::folded;

/// Zones and metrics that the operator labels private.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// Zones, folded.
    zones: Vec<String>,
    /// Metrics, folded.
    metrics: Vec<String>,
}

/// What a question touches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// What is private in it, in words; empty where nothing is.
    private: Vec<String>,
}

impl About {
    /// Nothing private.
    pub fn public() -> Self {
        Self::default()
    }

    /// Something private, named in words.
    pub fn private(what: impl Into<String>) -> Self {
        Self {
            private: vec![what.into()],
        }
    }

    /// Both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        for what in other.private {
            if !self.private.contains(&what) {
                self.private.push(what);
            }
        }
        self
    }

    /// Whether anything in it is private.
    pub fn is_private(&self) -> bool {
        !self.private.is_empty()
    }

    /// What is private in it.
    pub fn what(&self) -> &[String] {
        &self.private
    }
}

impl Labels {
    /// The labels of a configuration.
    pub fn new(zones: Vec<String>, metrics: Vec<String>) -> Self {
        let all = |names: Vec<String>| names.iter().map(|name| folded(name)).collect();
        Self {
            zones: all(zones),
            metrics: all(metrics),
        }
    }

    /// Whether nothing is labelled.
    pub fn is_empty(&self) -> bool {
        self.zones.is_empty() && self.metrics.is_empty()
    }

    /// The zones, in small letters.
    pub fn zones(&self) -> &[String] {
        &self.zones
    }

    /// The metrics, in small letters.
    pub fn metrics(&self) -> &[String] {
        &self.metrics
    }

    /// What is private in a reading, by the words of its names, as in [`Labels::text`]: `zone 1` is also `zone-1`.
    pub fn reading(&self, zone: Option<&str>, metric: &str) -> About {
        let is = |text: &str, name: &String| {
            let text = folded(text);
            text == *name || says(&text, name)
        };
        let zone = zone.unwrap_or_default();
        let zones = self.zones.iter().filter(|name| is(zone, name));
        let metrics = self.metrics.iter().filter(|name| is(metric, name));
        let private = zones
            .map(|name| format!("zone {name}"))
            .chain(metrics.map(|name| format!("metric {name}")));
        About {
            private: private.collect(),
        }
    }

    /// What is private in a text, by the names in it. A text that means a private thing without its name is not seen:
    /// what is read to answer it is, by [`Labels::reading`].
    pub fn text(&self, text: &str) -> About {
        let text = folded(text);
        let named = |kind: &str, names: &[String]| {
            let names = names.iter().filter(|name| says(&text, name));
            names
                .map(|name| format!("{kind} {name}"))
                .collect::<Vec<_>>()
        };
        let mut private = named("zone", &self.zones);
        private.extend(named("metric", &self.metrics));
        About { private }
    }
}

/// Whether a text has a name in it as words of its own; `living-room` is also said as `living room`.
fn says(text: &str, name: &str) -> bool {
    let words = |text: &str| {
        let letters = text.chars();
        let spaced = letters.map(|c| if c.is_alphanumeric() { c } else { ' ' });
        let spaced: String = spaced.collect();
        let joined: Vec<&str> = spaced.split_whitespace().collect();
        format!(" {} ", joined.join(" "))
    };
    let name = words(name);
    name.trim() != "" && words(text).contains(&name)
}

/// A configured model, as far as a route asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which model.
    pub model: ModelRef,
    /// Whether its server is on this machine.
    pub local: bool,
    /// Whether the operator lets it see private data, where that is said.
    pub private: Option<bool>,
    /// Why it cannot be asked now, where it cannot.
    pub unfit: Option<Skip>,
}

impl Candidate {
    /// Whether it may see private data.
    pub fn sees_private(&self) -> bool {
        self.private.unwrap_or(self.local)
    }
}

/// Why a model is not asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Skip {
    /// What kind of reason.
    pub kind: SkipKind,
    /// The reason in a sentence.
    pub why: String,
}

/// What kind of reason there is not to ask a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum SkipKind {
    /// The question touches private data that it may not see.
    Private,
    /// It has failed lately and is left alone for a while.
    Resting,
    /// Its budget for the day is used up.
    Budget,
    /// Its server did not take the key, and nothing has changed since.
    Key,
    /// As many requests as it may have are under way.
    Busy,
    /// It was asked and failed before it said anything.
    Failed,
    /// It is a model of another device, and none that offers it is connected.
    Away,
}

/// A model that was not used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Skipped {
    /// Which model.
    #[cfg_attr(test, schema(value_type = String))]
    pub model: ModelRef,
    /// Why.
    #[serde(flatten)]
    pub skip: Skip,
}

/// The way a question took, or would take.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// The model that answers; none where no model may or can.
    #[cfg_attr(test, schema(value_type = Option<String>))]
    pub chosen: Option<ModelRef>,
    /// The other device that has it, where it is not this node's.
    #[serde(skip)]
    pub device: Option<DeviceId>,
    /// Whether that model's server is on this machine.
    pub local: bool,
    /// What is private in the question.
    pub private: Vec<String>,
    /// The models that come first and were not used, in order, with the reason of each.
    pub skipped: Vec<Skipped>,
    /// How long it took until the model began to answer, in milliseconds; 0 for one that was not asked.
    pub first_ms: u64,
}

impl Route {
    /// The route in a sentence.
    pub fn explain(&self) -> String {
        let about = match self.private.is_empty() {
            true => "nothing in it is labelled private".to_owned(),
            false => format!("it touches private data ({})", self.private.join(", ")),
        };
        let skipped: Vec<String> = self
            .skipped
            .iter()
            .map(|s| format!("{}: {}", s.model, s.skip.why))
            .collect();
        let after = match skipped.is_empty() {
            true => String::new(),
            false => format!("; not used: {}", skipped.join("; ")),
        };
        match &self.chosen {
            Some(model) => format!("{model}, because {about} and it comes first{after}"),
            None => format!("no model: {about}{after}"),
        }
    }
}

/// The models that may be asked, in order, and those that may not. Policy alone decides: nothing that a model or a
/// frame says is asked here.
pub fn plan(all: &[Candidate], about: &About, edge_first: bool) -> (Vec<usize>, Vec<Skipped>) {
    let mut order: Vec<usize> = (0..all.len()).collect();
    if edge_first {
        order.sort_by_key(|index| !all[*index].local);
    }
    let (mut ask, mut skipped) = (Vec::new(), Vec::new());
    for index in order {
        let one = &all[index];
        let skip = match about.is_private() && !one.sees_private() {
            true => Some(Skip {
                kind: SkipKind::Private,
                why: "it may not see private data; set private = true for it where it may"
                    .to_owned(),
            }),
            false => one.unfit.clone(),
        };
        match skip {
            Some(skip) => skipped.push(Skipped {
                model: one.model.clone(),
                skip,
            }),
            None => ask.push(index),
        }
    }
    (ask, skipped)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn candidate(model: &str, local: bool, private: Option<bool>) -> Candidate {
        Candidate {
            model: model.parse().unwrap(),
            local,
            private,
            unfit: None,
        }
    }

    #[test]
    fn a_reading_is_private_by_the_words_of_its_names_as_a_text_is() {
        let labels = Labels::new(vec!["Zone 1".into()], vec!["tank.level".into()]);
        for zone in ["zone 1", "zone-1", "ZONE_1", "north zone  1"] {
            assert!(
                labels.reading(Some(zone), "moisture").is_private(),
                "{zone}"
            );
        }
        assert!(labels.reading(None, "Tank Level").is_private());
        assert!(!labels.reading(Some("zone 10"), "tank").is_private());
    }

    #[test]
    fn a_private_name_is_seen_in_every_spelling_that_reads_the_same() {
        let composed = Labels::new(vec!["Köşk".into()], vec!["pièce".into()]);
        let apart = Labels::new(
            vec!["Ko\u{308}s\u{327}k".into()],
            vec!["PIE\u{300}CE".into()],
        );
        for labels in [composed, apart] {
            for zone in [
                "köşk",
                "ko\u{308}s\u{327}k",
                "KO\u{308}S\u{327}K",
                "ｋöşｋ",
                "kö\u{ad}ş\u{200b}k",
            ] {
                assert!(labels.reading(Some(zone), "x").is_private(), "{zone:?}");
                assert!(labels.text(&format!("how is {zone}?")).is_private());
            }
            for metric in ["pie\u{300}ce", "Pi\u{e8}ce"] {
                assert!(labels.reading(None, metric).is_private(), "{metric:?}");
            }
            assert!(!labels.text("how is kosk? a piece").is_private());
        }
        // A letter whose small form decomposes.
        let dotted = Labels::new(vec!["İzmir".into()], Vec::new());
        assert!(dotted.text("near i\u{307}zmir").is_private());
    }

    #[test]
    fn private_data_stays_on_this_machine_where_nothing_is_said() {
        let all = [
            candidate("openai/big", false, None),
            candidate("ollama/small", true, None),
            candidate("litellm/named", false, Some(true)),
            candidate("ollama/not", true, Some(false)),
        ];
        let (ask, skipped) = plan(&all, &About::private("zone bedroom"), false);
        assert_eq!(ask, [1, 2]);
        let names: Vec<_> = skipped.iter().map(|s| s.model.to_string()).collect();
        assert_eq!(names, ["openai/big", "ollama/not"]);
        assert!(skipped.iter().all(|s| s.skip.kind == SkipKind::Private));
        let (ask, skipped) = plan(&all, &About::public(), false);
        assert_eq!((ask, skipped), (vec![0, 1, 2, 3], vec![]));
    }

    #[test]
    fn the_edge_comes_first_where_policy_says_so() {
        let all = [
            candidate("openai/big", false, None),
            candidate("ollama/small", true, None),
        ];
        assert_eq!(plan(&all, &About::public(), true).0, [1, 0]);
    }

    #[test]
    fn what_cannot_be_asked_now_is_named_with_its_reason() {
        let mut resting = candidate("openai/big", false, None);
        resting.unfit = Some(Skip {
            kind: SkipKind::Resting,
            why: "it failed three times".into(),
        });
        let (ask, skipped) = plan(&[resting], &About::public(), false);
        assert!(ask.is_empty());
        let route = Route {
            skipped,
            ..Route::default()
        };
        let said = route.explain();
        assert!(
            said.contains("no model") && said.contains("openai/big: it failed three times"),
            "{said}"
        );
    }

    #[test]
    fn a_private_name_is_found_in_a_question_as_words() {
        let labels = Labels::new(vec!["Living-Room".into()], vec!["presence".into()]);
        for (text, private) in [
            ("how warm is the living room?", true),
            ("Is PRESENCE seen?", true),
            ("living_room please", true),
            ("how are the livingrooms", false),
            ("omnipresence", false),
            ("", false),
        ] {
            assert_eq!(labels.text(text).is_private(), private, "{text}");
        }
        let both = labels.reading(Some("living-room"), "Presence");
        assert_eq!(both.what(), ["zone living-room", "metric presence"]);
        assert!(!labels.reading(Some("kitchen"), "temperature").is_private());
        assert!(
            !Labels::new(vec![" ".into()], vec![])
                .text("a b")
                .is_private()
        );
    }
}

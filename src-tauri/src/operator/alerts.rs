//! Alerts at the door: those that stand, those that are over, and what persons say about them. Nothing here asks for an action.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::queries::bounded;
use super::{Answer, Door};
use crate::domain::alerts::escalation::Told;
use crate::domain::base::{Code, Refusal};
use crate::node::alerts::Known;
use crate::node::config::notify::{Target, Way};
use crate::node::context::Severity;
use crate::node::context::alarms::AlarmKind;

/// An alert: something people should know of, with what they have answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AlertView {
    /// Its number; 0 while it could not be written down.
    pub id: u64,
    /// What it is about: the code of an alarm, such as `actuator.unsafe` or `alert.warning`.
    pub kind: String,
    /// How much it matters.
    pub severity: Severity,
    /// Which device, actuator or reading; empty where there is only one.
    pub subject: String,
    /// What is the matter.
    pub message: String,
    /// What to do.
    pub advice: String,
    /// Whether it is about a private reading: its words are sent to nobody.
    pub private: bool,
    /// Since when, in milliseconds since 1970.
    pub since: u64,
    /// When it was over; absent while it stands.
    #[serde(default)]
    pub ended_at: Option<u64>,
    /// Why it was over.
    #[serde(default)]
    pub ended_why: Option<String>,
    /// Who acknowledged it.
    #[serde(default)]
    pub acknowledged: Option<AcknowledgedView>,
    /// Until when it is muted, and by whom; absent where it is not.
    #[serde(default)]
    pub muted: Option<MutedView>,
    /// Who was told of it.
    pub told: Vec<ToldView>,
}

/// Who acknowledged an alert.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AcknowledgedView {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// Who.
    pub by: String,
    /// What they said.
    #[serde(default)]
    pub note: Option<String>,
}

/// A mute of an alert.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct MutedView {
    /// Until when, in milliseconds since 1970.
    pub until: u64,
    /// By whom.
    pub by: String,
}

/// What one place was told of an alert.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ToldView {
    /// The name of the place.
    pub target: String,
    /// How often it was told that the alert stands.
    pub times: u32,
    /// When last, in milliseconds since 1970.
    pub last: u64,
    /// Whether it was told that it is over.
    pub over: bool,
}

/// What a person says about an alert.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlertNote {
    /// What they want to say.
    #[serde(default)]
    pub note: Option<String>,
    /// The person's name, where a session does not tell it.
    #[serde(default)]
    pub name: Option<String>,
}

/// For how long an alert is muted.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlertMute {
    /// In milliseconds, seven days at most; a quarter of an hour for what may move or is an emergency.
    pub for_ms: u64,
    /// The person's name, where a session does not tell it.
    #[serde(default)]
    pub name: Option<String>,
}

/// A place where people are told of alerts.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NotifyView {
    /// Its name.
    pub name: String,
    /// How people are reached there, without a secret.
    pub way: String,
    /// How long an alert stands without an answer first, in milliseconds.
    pub after_ms: u64,
    /// The least that an alert must matter.
    pub severity: Severity,
    /// When it is left alone, in words.
    #[serde(default)]
    pub quiet: Option<String>,
    /// Why people cannot be told there now.
    #[serde(default)]
    pub problem: Option<String>,
}

/// Which places are told a test; all where none is named.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NotifyTest {
    /// The name of one.
    #[serde(default)]
    pub target: Option<String>,
    /// The person's name, where a session does not tell it.
    #[serde(default)]
    pub name: Option<String>,
}

/// What became of a test.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NotifyTested {
    /// The place.
    pub target: String,
    /// Why it was not told; absent where it was.
    #[serde(default)]
    pub problem: Option<String>,
}

fn told_views(told: BTreeMap<String, Told>) -> Vec<ToldView> {
    let view = |(target, told): (String, Told)| ToldView {
        target,
        times: told.times,
        last: told.last.0,
        over: told.over,
    };
    told.into_iter().map(view).collect()
}

fn number(id: &str) -> Answer<u64> {
    let bad = || {
        Refusal::new(
            Code::InvalidParams,
            "an alert has a number, as `alert list` shows it",
        )
    };
    id.parse().map_err(|_| bad())
}

impl Door {
    fn alert_view(&self, known: Known) -> AlertView {
        let (row, now) = (known.row, self.handles.now());
        let muted = row.muted.filter(|m| m.until > now && row.ended.is_none());
        let (ended_at, ended_why) = row.ended.map(|(at, why)| (at.0, why)).unzip();
        AlertView {
            id: row.id,
            kind: row.new.kind,
            severity: row.new.severity,
            subject: row.new.subject,
            message: row.new.message,
            advice: row.new.advice,
            private: row.new.private,
            since: row.new.since.0,
            ended_at,
            ended_why,
            acknowledged: row.acknowledged.map(|a| AcknowledgedView {
                at: a.at.0,
                by: a.by,
                note: a.note,
            }),
            muted: muted.map(|m| MutedView {
                until: m.until.0,
                by: m.by,
            }),
            told: told_views(known.told),
        }
    }

    /// The alerts that stand, the worst first.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn alerts(&self) -> Answer<Vec<AlertView>> {
        let all = self.handles.alerts.open().await?.into_iter();
        Ok(all.map(|known| self.alert_view(known)).collect())
    }

    /// Alerts, those that are over too, newest first: a page that follows the number `before`.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for a limit that is none.
    pub async fn alert_history(
        &self,
        before: Option<u64>,
        limit: Option<usize>,
    ) -> Answer<Vec<AlertView>> {
        let all = self.handles.alerts.history(before, bounded(limit)?).await?;
        Ok(all
            .into_iter()
            .map(|known| self.alert_view(known))
            .collect())
    }

    /// One alert.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for what is no number, `NOT_FOUND`.
    pub async fn alert(&self, id: &str) -> Answer<AlertView> {
        Ok(self.alert_view(self.handles.alerts.one(number(id)?).await?))
    }

    /// Takes a person's word that they have seen an alert; nobody else is told of it then.
    ///
    /// # Errors
    /// `INVALID_PARAMS`, `NOT_FOUND`, `CONFLICT` for one that is over.
    pub async fn alert_acknowledge(
        &self,
        id: &str,
        note: Option<String>,
        by: &str,
    ) -> Answer<AlertView> {
        let known = self
            .handles
            .alerts
            .acknowledge(number(id)?, by, note)
            .await?;
        Ok(self.alert_view(known))
    }

    /// Mutes an alert for a while.
    ///
    /// # Errors
    /// As [`Door::alert_acknowledge`], and for a time that is too long.
    pub async fn alert_mute(&self, id: &str, for_ms: u64, by: &str) -> Answer<AlertView> {
        let known = self.handles.alerts.mute(number(id)?, for_ms, by).await?;
        Ok(self.alert_view(known))
    }

    /// Unmutes an alert.
    ///
    /// # Errors
    /// As [`Door::alert_acknowledge`].
    pub async fn alert_unmute(&self, id: &str, by: &str) -> Answer<AlertView> {
        let known = self.handles.alerts.unmute(number(id)?, by).await?;
        Ok(self.alert_view(known))
    }

    /// The places where people are told of alerts.
    pub fn notify_places(&self) -> Vec<NotifyView> {
        let alarms = self.handles.alarms.list();
        let problem = |name: &str| {
            let mut failing = alarms.iter().filter(|a| a.kind == AlarmKind::NotifyFailing);
            failing
                .find(|a| a.subject == name)
                .map(|a| a.message.clone())
        };
        let view = |target: &Target| NotifyView {
            name: target.name.clone(),
            way: match &target.way {
                Way::Ntfy { address, .. } => format!("ntfy at {address}"),
                Way::Chat { kind, person } => format!("{kind}, {person}"),
                Way::Push { person, .. } => match person {
                    Some(person) => format!("push, {person}"),
                    None => "push".to_owned(),
                },
            },
            after_ms: target.step.after_ms,
            severity: target.step.floor,
            quiet: target.step.quiet.map(|hours| hours.to_string()),
            problem: problem(&target.name),
        };
        self.handles.config.notify.iter().map(view).collect()
    }

    /// Tells places a test: the one that is named, or all.
    ///
    /// # Errors
    /// `NOT_FOUND` for a place that the configuration does not have.
    pub async fn notify_test(&self, target: Option<&str>, by: &str) -> Answer<Vec<NotifyTested>> {
        let all = self.handles.config.notify.iter();
        let wanted: Vec<&Target> = all
            .filter(|t| target.is_none_or(|name| t.name == name))
            .collect();
        if wanted.is_empty() {
            let why = match target {
                Some(name) => format!("the configuration has no [[notify]] {name:?}"),
                None => "the configuration has no [[notify]]; docs/alerts.md shows one".to_owned(),
            };
            return Err(Refusal::new(Code::NotFound, why));
        }
        let tries = wanted.into_iter().map(|one| async move {
            let told = self.handles.alerts.test(one, by).await;
            NotifyTested {
                target: one.name.clone(),
                problem: told.err().map(|why| why.to_string()),
            }
        });
        Ok(futures_util::future::join_all(tries).await)
    }

    /// What chats of a kind are to tell persons from now on.
    #[cfg(feature = "chat")]
    pub fn alert_tellings(
        &self,
        kind: crate::domain::gate::ChannelKind,
    ) -> tokio::sync::mpsc::Receiver<crate::node::alerts::ToTell> {
        self.handles.alerts.tellings(kind)
    }
}

//! What a person does from a browser and what that takes: the session at a glance, and the means to
//! decide from here.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::Door;
use super::access::Scope;
use super::browser::Session;
use crate::node::shared::DURABLE;

/// Who asks and what they may do.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    /// What the caller may do.
    pub scope: Scope,
    /// The person's name; a token has none.
    pub name: Option<String>,
    /// What every change must carry as `X-ClawMesh-Csrf`; a token needs none.
    pub csrf: Option<String>,
    /// When the session ends, in milliseconds since 1970; a token does not end.
    pub expires_at: Option<u64>,
    /// Whether proposals can be decided from here.
    pub decision: DecisionMeans,
}

/// Whether and how proposals can be decided through this node.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionMeans {
    /// How.
    pub mode: DecisionMode,
    /// Whose key would sign.
    pub operator: Option<DecidingOperator>,
    /// Why not, and what to run; with mode `none`.
    pub hint: Option<String>,
}

/// How a decision is made from a browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DecisionMode {
    /// With the passphrase of the person's key at this node, each time.
    Passphrase,
    /// Not from here.
    None,
}

/// The person whose key lies at this node.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecidingOperator {
    /// The operator id.
    pub operator_id: String,
    /// The person's name, as the key file has it.
    pub name: String,
}

/// Whether a session ended.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EndedView {
    /// `false` where there was none to end, as with a token.
    pub ended: bool,
}

impl Door {
    /// Whether and how proposals can be decided through this node.
    pub async fn decision_means(&self) -> DecisionMeans {
        DecisionMeans {
            mode: DecisionMode::None,
            operator: None,
            hint: None,
        }
    }

    /// Writes down that a browser session began.
    pub async fn session_opened(&self, session: &Session) {
        let message = format!(
            "A browser session of {} began ({})",
            session.name, session.scope
        );
        self.session_event("console.opened", &message, session)
            .await;
    }

    /// Writes down that a browser session was ended.
    pub async fn session_ended(&self, session: &Session) {
        let message = format!("The browser session of {} was ended", session.name);
        self.session_event("console.closed", &message, session)
            .await;
    }

    async fn session_event(&self, kind: &'static str, message: &str, session: &Session) {
        let s = &self.shared;
        let detail = json!({"name": session.name, "scope": session.scope});
        let (copy, data) = (s.clone(), detail.clone());
        let audited = s
            .store
            .write(DURABLE, "console", move |c| {
                copy.audit_in(c, kind, "console", detail)
            })
            .await;
        if let Err(error) = audited {
            tracing::error!(%error, "a browser session could not be audited");
        }
        s.events.record(s, kind, "info", message, data).await;
    }
}

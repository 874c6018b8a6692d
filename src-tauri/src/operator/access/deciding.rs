//! Decisions of a person in a browser, and the session at a glance. The operator key is opened for one
//! signature with the person's passphrase and wiped at once, so neither a stolen session nor anything
//! else in the node can vote.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Semaphore;

use super::Scope;
use super::sessions::Session;
use crate::adapters::keystore::{self, KeyError, NamedOperatorKey, Passphrase};
use crate::adapters::paths::StateDir;
use crate::domain::base::limits::{PASSPHRASE_PAUSE_MS, PASSPHRASE_TRIES_MAX, TEXT_MAX_CHARS};
use crate::domain::base::{AuditKind, Code, Refusal, TimeMs};
use crate::domain::gate::NodeCode;
use crate::domain::gate::approval::{Decision, Verdict};
use crate::domain::identity::{PublicKey, Signature};
use crate::domain::policy::Level;
use crate::domain::proposal::SignedProposal;
use crate::node::context::DURABLE;
use crate::node::context::{Event, Severity};
use crate::node::proposals::Standing;
use crate::operator::dto::ProposalRecordView;
use crate::operator::{Answer, Door};

/// Shown where the key is under no passphrase.
const UNPROTECTED: &str = "The operator key at this node is under no passphrase, so a browser cannot \
     decide with it; run `clawmesh-node operator key protect` on the machine of the node.";
/// Shown where there is no key.
const NO_KEY: &str = "Run `clawmesh-node operator init` and `clawmesh-node operator key protect` on the \
     machine of the node, and enrol the key at the executors.";

/// Shown in a browser of another machine.
const OWN_KEY: &str = "In a browser of another machine you decide with your own key, made in it and enrolled by an \
     administrator: Settings, Your own key in this browser.";

/// Shown in a browser where the keychain of the desktop has the key.
const IN_KEYCHAIN: &str = "The operator key of this node is in the keychain of its desktop application; \
     decide in that window.";

/// Who asks and what they may do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
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
    /// Whether it is of a browser of another machine, such as a phone.
    pub away: bool,
    /// Whether proposals can be decided from here.
    pub decision: DecisionMeans,
}

/// Whether and how proposals can be decided through this node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DecisionMeans {
    /// How.
    pub mode: DecisionMode,
    /// Whose key would sign.
    pub operator: Option<DecidingOperator>,
    /// Why not, and what to run; with mode `none`.
    pub hint: Option<String>,
}

impl DecisionMeans {
    /// Those of a browser of another machine: no key of the node signs for it.
    pub fn own_key() -> Self {
        Self {
            mode: DecisionMode::None,
            operator: None,
            hint: Some(OWN_KEY.to_owned()),
        }
    }
}

/// How a decision is made from a browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum DecisionMode {
    /// With the passphrase of the person's key at this node, each time.
    Passphrase,
    /// In the desktop window, by the person's own press there, each time.
    Gesture,
    /// Not from here.
    None,
}

/// The person whose key lies at this node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DecidingOperator {
    /// The operator id.
    pub operator_id: String,
    /// The person's name, as the key file has it.
    pub name: String,
}

/// Whether a session ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct EndedView {
    /// `false` where there was none to end, as with a token.
    pub ended: bool,
}

/// What a person decides from a browser. Never shown: it holds a passphrase.
#[derive(Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DecideRequest {
    /// The proposal.
    pub proposal_id: String,
    /// The digest of the record that the person was shown, from `ProposalView`.
    pub digest: String,
    /// What to do.
    pub decision: Wish,
    /// What the person says about it.
    #[serde(default)]
    pub reason: Option<String>,
    /// What will move, as the person typed it: its name in full or its last part. An L3 approval needs it.
    #[serde(default)]
    pub target: Option<String>,
    /// The code that the executor shows at its own console, where the person gives one.
    #[serde(default)]
    #[cfg_attr(test, schema(value_type = Option<String>))]
    pub at_node: Option<NodeCode>,
    /// The passphrase of the person's key at this node; to withdraw, none.
    #[serde(default)]
    #[cfg_attr(test, schema(value_type = Option<String>))]
    pub passphrase: Option<Passphrase>,
}

/// What a person can do with a waiting proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Wish {
    /// Sign a yes.
    Approve,
    /// Sign a no.
    Reject,
    /// Take it back, without a vote.
    Withdraw,
}

/// Counts wrong passphrases, to limit guessing.
pub struct PassphraseGate {
    turn: Semaphore,
    wrong: Mutex<(u32, TimeMs)>,
}

impl Default for PassphraseGate {
    fn default() -> Self {
        Self {
            turn: Semaphore::new(1),
            wrong: Mutex::new((0, TimeMs(0))),
        }
    }
}

impl PassphraseGate {
    fn lock(&self) -> MutexGuard<'_, (u32, TimeMs)> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether another passphrase may be tried now.
    fn may_try(&self, now: TimeMs) -> Answer<()> {
        let mut state = self.lock();
        if state.0 < PASSPHRASE_TRIES_MAX {
            return Ok(());
        }
        if now.distance(state.1) >= PASSPHRASE_PAUSE_MS {
            state.0 = 0;
            return Ok(());
        }
        Err(Refusal::new(
            Code::RateExceeded,
            "too many wrong passphrases; wait a minute",
        ))
    }

    fn right(&self) {
        self.lock().0 = 0;
    }

    /// Counts a wrong one; how many more may follow.
    fn wrong(&self, now: TimeMs) -> u32 {
        let mut state = self.lock();
        *state = (state.0.saturating_add(1), now);
        PASSPHRASE_TRIES_MAX.saturating_sub(state.0)
    }
}

fn bad(message: &str) -> Refusal {
    Refusal::new(Code::InvalidParams, message)
}

/// The record as its executor signed it.
pub(in crate::operator) fn opened(view: &ProposalRecordView) -> Answer<SignedProposal> {
    let odd = |what: String| Refusal::new(Code::DigestMismatch, what);
    let key = PublicKey::from_text(&view.executor_key)
        .map_err(|e| odd(format!("the executor's key is not usable: {e}")))?;
    let signature = Signature::from_text(&view.signature)
        .map_err(|e| odd(format!("the executor's signature does not read: {e}")))?;
    let record = SignedProposal::open(&view.record, signature, &key)?;
    if record.digest().to_string() == view.proposal.digest {
        Ok(record)
    } else {
        Err(odd("the record is not the one that is shown".to_owned()))
    }
}

impl Door {
    /// Whether and how proposals can be decided through this node; `window` if the person is at the
    /// desktop window of this process.
    pub async fn decision_means(&self, window: bool) -> DecisionMeans {
        let dir = StateDir::at(&self.handles.config.state_dir);
        let card = tokio::task::spawn_blocking(move || keystore::operator_card(&dir)).await;
        let (card, problem) = match card {
            Ok(Ok(card)) => (card, None),
            Ok(Err(error)) => (None, Some(error.to_string())),
            Err(_) => (None, Some("the operator key could not be read".to_owned())),
        };
        let hint = match &card {
            Some(card) if card.protected || window => None,
            Some(card) if card.in_keychain => Some(IN_KEYCHAIN.to_owned()),
            Some(_) => Some(UNPROTECTED.to_owned()),
            None => {
                problem.or_else(|| Some(format!("There is no operator key at this node. {NO_KEY}")))
            }
        };
        let protected = card.as_ref().is_some_and(|c| c.protected);
        DecisionMeans {
            mode: match hint {
                None if protected => DecisionMode::Passphrase,
                None => DecisionMode::Gesture,
                Some(_) => DecisionMode::None,
            },
            operator: card.map(|c| DecidingOperator {
                operator_id: c.id.to_string(),
                name: c.name,
            }),
            hint,
        }
    }

    /// Decides a proposal as the person whose key lies at this node, who proves it with the
    /// passphrase. What is signed is the stored record, and only if it is the one the person saw.
    ///
    /// # Errors
    /// `DIGEST_MISMATCH` if the record is another; `KEY_UNPROTECTED`, `PASSPHRASE_WRONG`,
    /// `RATE_EXCEEDED` after too many wrong ones, `BUSY`; and what a decision is refused with.
    pub async fn console_decide(
        &self,
        gate: &PassphraseGate,
        mut asked: DecideRequest,
    ) -> Answer<Standing> {
        let passphrase = asked.passphrase.take();
        self.decide_with(asked, self.unlock_with(gate, passphrase))
            .await
    }

    /// The person's key, for a passphrase that was given.
    pub(in crate::operator) async fn unlock_with(
        &self,
        gate: &PassphraseGate,
        passphrase: Option<Passphrase>,
    ) -> Answer<NamedOperatorKey> {
        let Some(passphrase) = passphrase else {
            return Err(bad("passphrase: approving and rejecting need it each time"));
        };
        self.unlock(gate, passphrase).await
    }

    /// Decides a proposal with the key that `unlock` gives, which is asked only once everything else
    /// has been checked. What is signed is the stored record, and only if it is the one the person saw.
    ///
    /// # Errors
    /// `DIGEST_MISMATCH` if the record is another; what `unlock` says; what a decision is refused with.
    pub async fn decide_with(
        &self,
        asked: DecideRequest,
        unlock: impl Future<Output = Answer<NamedOperatorKey>>,
    ) -> Answer<Standing> {
        let view = self.proposal_record(&asked.proposal_id).await?;
        if view.proposal.digest != asked.digest {
            return Err(Refusal::new(
                Code::DigestMismatch,
                "the stored record is not the one that was shown; look at it again before deciding",
            ));
        }
        let reason = asked.reason.filter(|r| !r.trim().is_empty());
        if reason
            .as_ref()
            .is_some_and(|r| r.chars().count() > TEXT_MAX_CHARS)
        {
            return Err(bad("the reason is too long"));
        }
        let verdict = match asked.decision {
            Wish::Approve => Verdict::Approve,
            Wish::Reject => Verdict::Reject,
            // Taking back is no vote and carries no signature, here as on the command line.
            Wish::Withdraw => return self.withdraw(&view.proposal.id, reason).await,
        };
        let record = opened(&view)?;
        if verdict == Verdict::Approve && record.record().level == Level::L3 {
            let moves = record.record().target.as_str();
            let typed = asked.target.as_deref().map(str::trim);
            if !typed.is_some_and(|t| t == moves || moves.rsplit(':').next() == Some(t)) {
                return Err(bad(
                    "an L3 proposal is approved by who names what will move; type its name",
                ));
            }
        }
        let key = unlock.await?;
        let decision = {
            let subject = record.record();
            Decision {
                verdict,
                mesh_id: subject.mesh_id.clone(),
                executor: subject.executor.clone(),
                proposal_id: subject.proposal_id.clone(),
                digest: *record.digest(),
                operator_id: key.key.id().clone(),
                decided_at: self.handles.now(),
                note: reason,
                channel: None,
                at_node: asked.at_node.filter(|_| verdict == Verdict::Approve),
            }
            .sign(&key.key)
        };
        // The key is wiped before anything else happens.
        drop(key);
        self.decide(record.record().proposal_id.as_str(), decision)
            .await
    }

    /// The person's key, if the passphrase is right; one try at a time.
    async fn unlock(
        &self,
        gate: &PassphraseGate,
        passphrase: Passphrase,
    ) -> Answer<NamedOperatorKey> {
        let _turn = gate
            .turn
            .try_acquire()
            .map_err(|_| Refusal::new(Code::Busy, "another decision is being signed; try again"))?;
        let s = &self.handles;
        gate.may_try(s.now())?;
        let dir = StateDir::at(&s.config.state_dir);
        let opening = tokio::task::spawn_blocking(move || match keystore::operator_card(&dir)? {
            Some(card) if !card.protected => Ok(None),
            _ => keystore::unlock_operator_key(&dir, &passphrase).map(Some),
        });
        let opened = opening
            .await
            .map_err(|_| Refusal::new(Code::InternalError, "the key could not be opened"))?;
        match opened {
            Ok(Some(key)) => {
                gate.right();
                Ok(key)
            }
            Ok(None) => Err(Refusal::new(Code::KeyUnprotected, UNPROTECTED)),
            Err(KeyError::WrongPassphrase { .. }) => {
                let left = gate.wrong(s.now());
                let refusal = Refusal::new(
                    Code::PassphraseWrong,
                    format!("the passphrase is wrong; {left} more before a pause of a minute"),
                );
                s.journal
                    .refused(Event::PassphraseWrong, "operator key", &refusal)
                    .await;
                Err(refusal)
            }
            Err(KeyError::NoOperatorKey { .. }) => Err(Refusal::new(
                Code::NotFound,
                format!("there is no operator key at this node. {NO_KEY}"),
            )),
            Err(error) => Err(Refusal::new(Code::Conflict, error.to_string())),
        }
    }

    /// Writes down that a browser session began.
    pub async fn session_opened(&self, session: &Session) {
        let message = format!(
            "A browser session of {} began {}({})",
            session.name,
            if session.away {
                "at another machine "
            } else {
                ""
            },
            session.scope
        );
        self.session_event(
            AuditKind::ConsoleOpened,
            Event::ConsoleOpened,
            &message,
            session,
        )
        .await;
    }

    /// Writes down that a browser session was ended.
    pub async fn session_ended(&self, session: &Session) {
        let message = format!("The browser session of {} was ended", session.name);
        self.session_event(
            AuditKind::ConsoleClosed,
            Event::ConsoleClosed,
            &message,
            session,
        )
        .await;
    }

    async fn session_event(&self, kind: AuditKind, event: Event, message: &str, session: &Session) {
        let s = &self.handles;
        let detail = json!({"name": session.name, "scope": session.scope, "away": session.away, "session": session.id.shown()});
        let (copy, data) = (s.clone(), detail.clone());
        let audited = s
            .store
            .write(DURABLE, "console", move |c| {
                copy.journal.audit(c, kind, "console", detail)
            })
            .await;
        if let Err(error) = audited {
            tracing::error!(%error, "a browser session could not be audited");
        }
        s.journal.record(event, Severity::Info, message, data).await;
    }
}

//! The planner of this node as people see it: what it is, whether it rests, what it last did.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::access::Scope;
use super::views::Names;
use super::{Answer, Door};
use crate::domain::base::limits::{PLANNER_WAITING_MAX, RESUME_WAIT_MS};
use crate::domain::inference::mode::{Mode, Out};
use crate::domain::plan::cron::Cron;
use crate::domain::plan::rules::Rule;
use crate::domain::plan::standing::Standing;
use crate::node::Shared;
use crate::node::gen1::{self, conversation::OtherProposal};
use crate::node::pause::{self, Pause};
use crate::node::planner::later::Later;
use crate::node::planner::talk::Belongs;
use crate::node::planner::{self, Answered, Doing, Telling, later, modes};
use crate::node::{leading, routing};

/// What plans on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PlannerKind {
    /// Thresholds of the configuration.
    Rules,
    /// Nothing: there are no rules.
    None,
}

/// What a planner does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PlannerState {
    /// Nothing, for it has no rules or its node's role plans nothing.
    Off,
    /// Nothing, for somebody has paused it.
    Paused,
    /// It acts when the world changes.
    Idle,
}

impl fmt::Display for PlannerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            PlannerKind::Rules => "rules",
            PlannerKind::None => "none",
        })
    }
}

impl fmt::Display for PlannerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            PlannerState::Off => "off",
            PlannerState::Paused => "paused",
            PlannerState::Idle => "idle",
        })
    }
}

/// The planner of a node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PlannerView {
    /// What plans here.
    pub kind: PlannerKind,
    /// What it does.
    pub state: PlannerState,
    /// Why it is in this state, in a sentence.
    pub why: String,
    /// The model that is asked first where a person asks something; absent where the rules answer.
    #[serde(default)]
    pub model: Option<String>,
    /// What the models can do for it; absent where there is none.
    #[serde(default)]
    pub mode: Option<ModeView>,
    /// What is done for a question now, and how many wait behind it; absent where nobody asks.
    #[serde(default)]
    pub question: Option<String>,
    /// Why the last question got no answer of a model, where one was to answer; absent once one has.
    #[serde(default)]
    pub trouble: Option<String>,
    /// The questions that are asked again by themselves when a model can be asked, in their order.
    #[serde(default)]
    pub later: Vec<Later>,
    /// How many rules it has.
    pub rules: usize,
    /// Its rules that ask at times of a schedule.
    #[serde(default)]
    pub schedules: Vec<ScheduleView>,
    /// What its model is asked without a person.
    #[serde(default)]
    pub questions: Vec<StandingView>,
    /// The pause, if there is one.
    pub pause: Option<Pause>,
    /// The rule that fired last since the node started.
    pub last_rule: Option<String>,
    /// When it did, in milliseconds since 1970.
    pub last_fired_at: Option<u64>,
    /// Who leads by the election of gen-1 nodes, among this node and those it is linked with; a gen-1
    /// planner comes before ours.
    #[serde(default)]
    pub leader: Option<LeaderView>,
    /// What the planners of gen-1 nodes propose, newest first: theirs, and never executed here.
    #[serde(default)]
    pub others: Vec<OtherProposalView>,
}

/// A rule that asks at times of a schedule.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ScheduleView {
    /// Its name.
    pub rule: String,
    /// The cron expression with its time zone.
    pub at: String,
    /// The next time, in milliseconds since 1970.
    pub next_at: Option<u64>,
    /// When it last came since the node started, in milliseconds since 1970.
    #[serde(default)]
    pub last_at: Option<u64>,
    /// The device whose planner asks instead, as long as it does.
    #[serde(default)]
    pub left_to: Option<String>,
}

/// A standing question.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct StandingView {
    /// Its name; answers name it as who asked.
    pub name: String,
    /// The question.
    pub text: String,
    /// When it is asked, in words.
    pub when: String,
    /// The next time, in milliseconds since 1970, where it is asked at times of a schedule.
    pub next_at: Option<u64>,
    /// Whether only models that may see private data are asked.
    pub private: bool,
    /// Whether the model may ask for an action, which waits for a person.
    pub propose: bool,
}

/// What the models can do for a planner, and why.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ModeView {
    /// What they can do.
    pub mode: Mode,
    /// Why, in a sentence; empty where a model can be asked.
    pub why: String,
    /// What ends it, in a sentence; empty where a model can be asked.
    pub advice: String,
    /// When the first model is tried again by itself, in milliseconds since 1970; absent where only a person changes
    /// that, or a model can be asked.
    pub until: Option<u64>,
    /// The models that cannot be asked, in their order.
    pub out: Vec<Out>,
}

/// The planner that leads.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct LeaderView {
    /// The device.
    pub device_id: String,
    /// Its name, where known.
    #[serde(default)]
    pub name: Option<String>,
    /// Whether it is this node.
    pub own: bool,
    /// The role it stands with.
    pub role: String,
}

/// A proposal of a gen-1 planner, as it says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct OtherProposalView {
    /// The planner's id for it.
    pub id: String,
    /// The device that said it.
    pub from: String,
    /// That device's name, where known.
    #[serde(default)]
    pub from_name: Option<String>,
    /// What it is about.
    pub summary: String,
    /// The actuator it names.
    pub target: String,
    /// The operation it names.
    pub operation: String,
    /// The level its planner chose; it means nothing here.
    pub level: String,
    /// Where it stands, in its planner's word.
    pub status: String,
    /// When this node first heard of it, in milliseconds since 1970.
    pub heard_at: u64,
    /// Whether it can be decided and executed here: never.
    pub executable_here: bool,
}

/// Why the planner is to rest.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PauseRequest {
    /// The reason, for people.
    #[serde(default)]
    pub reason: Option<String>,
    /// The person's name, where a session does not tell it.
    #[serde(default)]
    pub name: Option<String>,
}

/// A question to the planner of a node.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AskRequest {
    /// The question.
    pub question: String,
    /// The person's name, where a session does not tell it.
    #[serde(default)]
    pub name: Option<String>,
    /// The conversation that it goes on with, from an earlier answer; a new one begins where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<String>,
    /// Whether the conversation is private from here on: then only models that may see private data are asked, and what
    /// they say is told to no other.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
    /// Whether it is asked again by itself, for a day, where no model can be asked now; the rules answer meanwhile, and
    /// the answer says `queued`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wait: bool,
}

/// An answered question that is to be asked again when a model can be asked.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LaterRequest {
    /// Its id.
    pub id: String,
}

fn other(proposal: OtherProposal, names: &Names) -> OtherProposalView {
    OtherProposalView {
        id: proposal.id,
        from_name: names.get(&proposal.from).cloned(),
        from: proposal.from.as_str().to_owned(),
        summary: proposal.summary,
        target: proposal.target,
        operation: proposal.operation,
        level: proposal.level,
        status: proposal.status,
        heard_at: proposal.heard_at.0,
        executable_here: false,
    }
}

/// What is done for a question, in a line.
fn doing(doing: &Doing) -> Option<String> {
    let question = doing.question.as_ref()?;
    let behind = match doing.waiting {
        0 => String::new(),
        waiting => format!("; {waiting} more wait"),
    };
    Some(format!("{question}: {}{behind}", doing.step))
}

fn too_many_wait(wishes: usize) -> String {
    format!(
        "{wishes} wishes of its model wait for people; standing questions rest until some are decided"
    )
}

/// Why standing questions rest, where no model can be asked them.
fn no_model(s: &Shared) -> Option<String> {
    if s.config.questions.is_empty() || s.inference.answers() {
        return None;
    }
    let why = match s.inference.is_empty() {
        true => "no language model is configured".to_owned(),
        false => s.inference.standing().why(),
    };
    Some(format!(
        "standing questions rest until a model can be asked: {why}"
    ))
}

/// The rules with a schedule, of a node that plans.
fn schedules(s: &Shared) -> Vec<ScheduleView> {
    let rules = s.config.rules.iter().filter(|_| s.config.role.plans());
    let scheduled = rules.filter_map(|r| Some((r, r.schedule()?)));
    let view = |(rule, cron): (&Rule, &Cron)| ScheduleView {
        rule: rule.name.clone(),
        at: cron.to_string(),
        next_at: cron.next_after(s.now()).map(|at| at.0),
        last_at: s.planner.last_of(&rule.name).map(|at| at.0),
        left_to: leading::instead(&s.leading, rule).map(|leader| routing::name(s, &leader.device)),
    };
    scheduled.map(view).collect()
}

/// The standing questions of a node that plans.
fn standing(s: &Shared) -> Vec<StandingView> {
    let questions = s.config.questions.iter().filter(|_| s.config.role.plans());
    let next = |q: &Standing| q.schedule()?.next_after(s.now());
    let when = |q: &Standing| match leading::asks_instead(&s.leading, q) {
        Some(leader) => format!("{}; left to {}", q.when(), routing::name(s, &leader.device)),
        None => q.when(),
    };
    let view = |q: &Standing| StandingView {
        name: q.name.clone(),
        text: q.text.clone(),
        when: when(q),
        next_at: next(q).map(|at| at.0),
        private: q.private,
        propose: q.propose,
    };
    questions.map(view).collect()
}

impl Door {
    /// The planner of this node.
    pub fn planner(&self) -> PlannerView {
        let (s, asked) = (&self.shared, &self.shared.asking.questions);
        let plans = s.config.role.plans();
        let rules = if plans { s.config.rules.len() } else { 0 };
        let (pause, last) = (s.planner.pause(), s.planner.last_fired());
        let (state, why) = match &pause {
            _ if !plans => (
                PlannerState::Off,
                format!(
                    "a node with the role {} plans nothing",
                    s.config.role.as_str()
                ),
            ),
            _ if rules == 0 && s.config.questions.is_empty() => {
                (PlannerState::Off, "it has no rules".to_owned())
            }
            Some(p) => (PlannerState::Paused, format!("paused by {}", p.holders())),
            None if asked.wishes() >= PLANNER_WAITING_MAX => {
                (PlannerState::Idle, too_many_wait(asked.wishes()))
            }
            None => {
                let left = s.leading.left().map(|left| left.in_words(s));
                let why = left.or_else(|| no_model(s));
                let why = why.unwrap_or_else(|| "no rule has reason to act".to_owned());
                (PlannerState::Idle, why)
            }
        };
        let (leader, others) = (gen1::leader(s), s.sessions.other_planners.all());
        let names = match leader.is_some() || !others.is_empty() {
            true => self.names(),
            false => Names::new(),
        };
        let now = asked.doing();
        PlannerView {
            kind: if rules == 0 {
                PlannerKind::None
            } else {
                PlannerKind::Rules
            },
            state,
            why,
            model: s.inference.models().first().map(|m| m.model.to_string()),
            mode: self.mode(),
            question: doing(&now),
            trouble: now.error,
            later: asked.later.all(),
            rules,
            schedules: schedules(s),
            questions: standing(s),
            pause,
            last_fired_at: last.as_ref().map(|(_, at)| at.0),
            last_rule: last.map(|(rule, _)| rule),
            leader: leader.map(|(device, role)| LeaderView {
                own: device == *s.own_id(),
                name: names.get(&device).cloned(),
                device_id: device.as_str().to_owned(),
                role,
            }),
            others: others.into_iter().map(|p| other(p, &names)).collect(),
        }
    }

    /// What the models can do; nothing where there is none.
    fn mode(&self) -> Option<ModeView> {
        let inference = &self.shared.inference;
        let standing = (!inference.is_empty()).then(|| inference.standing())?;
        let out = standing.mode != Mode::Active;
        Some(ModeView {
            mode: standing.mode,
            why: if out { standing.why() } else { String::new() },
            advice: modes::advice(&standing).to_owned(),
            until: standing.until.map(|at| at.0),
            out: standing.out,
        })
    }

    /// Asks the planner of this node. What is told of it comes over the channel, the answer last; whoever drops that
    /// end takes the question back.
    ///
    /// # Errors
    /// As [`planner::ask`].
    pub fn ask_planner(
        &self,
        asked: &AskRequest,
        by: &str,
        account: &str,
    ) -> Answer<mpsc::Receiver<Telling>> {
        let belongs = Belongs {
            conversation: asked.conversation.clone(),
            private: asked.private,
            patient: asked.wait,
        };
        planner::ask(&self.shared.asking, &asked.question, by, account, &belongs)
    }

    /// The questions that were answered last, newest first; without the private ones for whoever may only look.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn answered(&self, scope: Scope) -> Answer<Vec<Answered>> {
        let mut all = planner::answered(&self.shared).await?;
        if scope == Scope::Read {
            all.retain(|one| one.private.is_empty());
        }
        Ok(all)
    }

    /// The planner as `scope` may see it: whoever may only look reads no private question.
    pub fn planner_for(&self, scope: Scope) -> PlannerView {
        let mut view = self.planner();
        if scope == Scope::Read {
            // What is private in a conversation is known when it is answered.
            view.question = view.question.map(|_| "a question".to_owned());
            view.later.retain(|one| !one.private);
        }
        view
    }

    /// Has a question that the rules answered asked again when a model can be asked.
    ///
    /// # Errors
    /// As [`later::again`].
    pub async fn ask_later(&self, asked: &LaterRequest, account: &str) -> Answer<PlannerView> {
        later::again(&self.shared.asking, &asked.id, account).await?;
        Ok(self.planner())
    }

    /// Takes such a question back.
    ///
    /// # Errors
    /// As [`later::cancel`].
    pub async fn ask_later_cancel(&self, id: &str) -> Answer<PlannerView> {
        later::cancel(&self.shared.asking, id).await?;
        Ok(self.planner())
    }

    /// Makes the planner rest.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for texts that are too long, or what the store says.
    pub async fn planner_pause(&self, asked: &PauseRequest, by: &str) -> Answer<PlannerView> {
        let (s, reason) = (&self.shared, asked.reason.as_deref().unwrap_or_default());
        pause::pause(s, (&*s.planner, &s.inference), by, reason).await?;
        Ok(self.planner())
    }

    /// Lets the planner go on, and tries the models that are out.
    ///
    /// # Errors
    /// `CONFLICT` if it does not rest and a model can be asked, or what the store says.
    pub async fn planner_resume(&self, by: &str) -> Answer<PlannerView> {
        let inference = &self.shared.inference;
        let out = inference.standing().mode != Mode::Active;
        if !out || self.shared.planner.pause().is_some() {
            pause::resume(&self.shared, &self.shared.planner, by).await?;
        }
        // A server that hangs keeps nobody waiting.
        let (shared, (done, over)) = (self.shared.clone(), tokio::sync::oneshot::channel::<()>());
        self.shared.tasks.passing("try of the models", async move {
            shared.inference.probe_all().await;
            drop(done);
        });
        let _ = tokio::time::timeout(Duration::from_millis(RESUME_WAIT_MS), over).await;
        Ok(self.planner())
    }
}

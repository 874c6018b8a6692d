//! The planner of this node as people see it: what it is, whether it rests, what it last did.

use std::time::Duration;

use tokio::sync::mpsc;

use super::access::Scope;
use super::dto::{
    AskRequest, LaterRequest, LeaderView, ModeView, OtherProposalView, PauseRequest, PlannerKind,
    PlannerState, PlannerView, ScheduleView, StandingView,
};
use super::views::Names;
use super::{Answer, Door};
use crate::domain::base::limits::{PLANNER_WAITING_MAX, RESUME_WAIT_MS};
use crate::domain::inference::mode::Mode;
use crate::domain::plan::cron::Cron;
use crate::domain::plan::rules::Rule;
use crate::domain::plan::standing::Standing;
use crate::node::Handles;
use crate::node::gen1::{self, conversation::OtherProposal};
use crate::node::pause;
use crate::node::planner::talk::Belongs;
use crate::node::planner::{self, Answered, Doing, Telling, later, modes};
use crate::node::{leading, routing};

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

/// The work on a question, in a line.
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
fn no_model(s: &Handles) -> Option<String> {
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
fn schedules(s: &Handles) -> Vec<ScheduleView> {
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
fn standing(s: &Handles) -> Vec<StandingView> {
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
        let (s, asked) = (&self.handles, &self.handles.asking.questions);
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
        let inference = &self.handles.inference;
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

    /// Asks the planner of this node. Its steps come over the channel, the answer last; a caller that drops that
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
        planner::ask(&self.handles.asking, &asked.question, by, account, &belongs)
    }

    /// The questions that were answered last, newest first; without the private ones for whoever may only look.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn answered(&self, scope: Scope) -> Answer<Vec<Answered>> {
        let mut all = planner::answered(&self.handles).await?;
        if scope == Scope::Read {
            all.retain(|one| one.private.is_empty());
        }
        Ok(all)
    }

    /// The planner as `scope` may see it: whoever may only look reads no private question.
    pub fn planner_for(&self, scope: Scope) -> PlannerView {
        let mut view = self.planner();
        if scope == Scope::Read {
            // The private labels of a conversation are known when it is answered.
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
        later::again(&self.handles.asking, &asked.id, account).await?;
        Ok(self.planner())
    }

    /// Takes such a question back.
    ///
    /// # Errors
    /// As [`later::cancel`].
    pub async fn ask_later_cancel(&self, id: &str) -> Answer<PlannerView> {
        later::cancel(&self.handles.asking, id).await?;
        Ok(self.planner())
    }

    /// Makes the planner rest.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for texts that are too long, or what the store says.
    pub async fn planner_pause(&self, asked: &PauseRequest, by: &str) -> Answer<PlannerView> {
        let (s, reason) = (&self.handles, asked.reason.as_deref().unwrap_or_default());
        pause::pause(s, (&*s.planner, &s.inference), by, reason).await?;
        Ok(self.planner())
    }

    /// Lets the planner go on, and tries the models that are out.
    ///
    /// # Errors
    /// `CONFLICT` if it does not rest and a model can be asked, or what the store says.
    pub async fn planner_resume(&self, by: &str) -> Answer<PlannerView> {
        let inference = &self.handles.inference;
        let out = inference.standing().mode != Mode::Active;
        if !out || self.handles.planner.pause().is_some() {
            pause::resume(&self.handles, &self.handles.planner, by).await?;
        }
        // In a task, so that a server that hangs does not delay the answer.
        let (handles, (done, over)) = (self.handles.clone(), tokio::sync::oneshot::channel::<()>());
        self.handles.tasks.passing("try of the models", async move {
            handles.inference.probe_all().await;
            drop(done);
        });
        let _ = tokio::time::timeout(Duration::from_millis(RESUME_WAIT_MS), over).await;
        Ok(self.planner())
    }
}

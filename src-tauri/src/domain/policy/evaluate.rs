//! Evaluation: a wish, the world and the history in; terms or a denial out, every check listed.

mod evidence;
mod lasting;
mod sequence;
mod world;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use self::evidence::evidence;
use self::lasting::{duration, pause, steps, within};
pub use self::world::PRIVATE_VALUE;
use self::world::{caps, holds};
use super::kind::Kind;
use super::rule::Rule;
use super::{Class, Level, Policy, Requester};
use crate::domain::base::{Code, DeviceId, Taint, Tier, TimeMs};
use crate::domain::capability::{Action, Params};
use crate::domain::world::{Facts, SignatureState};

/// Whether a wish is being minted or carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// A draft asks.
    Propose,
    /// An approved proposal is about to act.
    Execute,
}

/// The evidence of a wish.
#[derive(Debug, Clone, PartialEq)]
pub struct EvidenceView {
    /// The device it came from.
    pub origin: DeviceId,
    /// The tier the executor vouches for.
    pub effective: Tier,
    /// How old it was when the proposal was, or is being, minted.
    pub age_ms: u64,
    /// State of its signature.
    pub signature: SignatureState,
}

/// The wish.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The action.
    pub action: &'a Action,
    /// The kind of asker, by its own claim.
    pub requester: Requester,
    /// The device it came from, proven by its link.
    pub from: &'a DeviceId,
    /// Marks of everything it was derived from.
    pub taint: &'a BTreeSet<Taint>,
    /// Its evidence: the frames it cites. Readings of interlocks are no evidence for a wish.
    pub evidence: &'a [EvidenceView],
    /// Minting or acting.
    pub phase: Phase,
    /// Whether a person must agree under any rule: the actuator is at a gen-1 node.
    pub by_gen1: bool,
    /// The parameters of the setting of the target that is in force, if one is.
    pub now_set: Option<&'a Params>,
}

impl Request<'_> {
    /// How the asker stands under a rule.
    fn class(&self, rule: Option<&Rule>, own: &DeviceId) -> Class {
        match self.requester {
            _ if !self.taint.is_empty() => Class::Model,
            Requester::Llm => Class::Model,
            Requester::Person if self.from == own => Class::Person,
            Requester::Person => Class::PeerPerson,
            Requester::Rules if self.from == own => Class::OwnRules,
            Requester::Rules if rule.is_some_and(|r| r.from.contains(self.from)) => {
                Class::NamedRules
            }
            Requester::Rules => Class::PeerRules,
        }
    }

    /// Whether L1 may act without a person.
    fn is_automatic(&self, class: Class) -> bool {
        class.is_automatic() && !self.by_gen1
    }
}

/// One past run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunView {
    /// The rule it ran under.
    pub rule: String,
    /// The actuator.
    pub target: String,
    /// The operation.
    pub operation: String,
    /// When it started.
    pub started_at: TimeMs,
    /// How long it ran, or was planned to.
    pub duration_ms: u64,
}

/// The executor's runs of at least the last day.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// In any order.
    pub runs: Vec<RunView>,
}

impl History {
    /// When the actuator of an action last began to do the same, with any parameters.
    pub fn last_begun(&self, action: &Action) -> Option<TimeMs> {
        let same = |r: &&RunView| {
            r.target == action.target.as_str() && r.operation == action.operation.as_str()
        };
        self.runs.iter().filter(same).map(|r| r.started_at).max()
    }
}

/// One check and how it came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// Whether it passed.
    pub passed: bool,
    /// What was found.
    pub detail: String,
}

/// Allowed, on these terms.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// The rule that says so.
    pub rule: String,
    /// How the asker stands.
    pub class: Class,
    /// Who must agree.
    pub level: Level,
    /// How many distinct operators.
    pub quorum: u32,
    /// Whether the code shown at the executor stands for one of two.
    pub at_node: bool,
    /// How long it lasts and what ends it.
    pub kind: Kind,
    /// The longest it may run, in milliseconds.
    pub deadline_ms: u64,
    /// How long it will run, in milliseconds.
    pub run_ms: u64,
    /// The operation that ends it safely.
    pub safe_state: String,
    /// After how many milliseconds the evidence will be too old; `None` where none is needed.
    pub fresh_for_ms: Option<u64>,
    /// The weakest tier of the evidence that counts; of what is cited, where none is needed.
    pub tier: Option<Tier>,
    /// The weakest tier that would count.
    pub min_tier: Tier,
    /// Whether a person's standing approval may count as their vote for this asker now, else why not.
    pub standing: Result<(), String>,
    /// Every check, all passed.
    pub checks: Vec<Check>,
}

/// Not allowed.
#[derive(Debug, Clone, PartialEq)]
pub struct Denial {
    /// The stable code of the first check that failed.
    pub code: Code,
    /// A sentence.
    pub message: String,
    /// The rule that was asked, if one covers the action.
    pub rule: Option<String>,
    /// Every check, passed and failed.
    pub checks: Vec<Check>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Ruling {
    /// On terms.
    Allow(Terms),
    /// Not.
    Deny(Denial),
}

/// Collects checks; the first failure decides the code.
#[derive(Default)]
struct Sheet {
    checks: Vec<Check>,
    failed: Option<(Code, String)>,
}

impl Sheet {
    fn check(&mut self, name: &str, code: Code, result: Result<String, String>) {
        let passed = result.is_ok();
        let detail = result.unwrap_or_else(|e| e);
        if !passed && self.failed.is_none() {
            self.failed = Some((code, detail.clone()));
        }
        self.checks.push(Check {
            name: name.to_owned(),
            passed,
            detail,
        });
    }
}

/// The moments of a ruling.
#[derive(Debug, Clone, Copy)]
struct When {
    /// The current moment.
    now: TimeMs,
    /// When it would begin: later than now for a step of a sequence.
    begins: TimeMs,
    /// How long it would last, in milliseconds, where its place in a sequence says that.
    lasts: Option<u64>,
}

impl Policy {
    /// Evaluates a wish. The first rule that covers target and operation decides; none means no.
    pub fn evaluate(
        &self,
        request: &Request<'_>,
        facts: &dyn Facts,
        history: &History,
        now: TimeMs,
        own: &DeviceId,
    ) -> Ruling {
        let action = request.action;
        let Some(rule) = self.rule_for(action) else {
            return self.uncovered(action);
        };
        let when = When {
            now,
            begins: now,
            lasts: None,
        };
        match rule.kind {
            Kind::Sequence { .. } => {
                self.sequence_ruling(rule, request, (facts, history), when, own)
            }
            _ => self.judge(rule, request, (facts, history), when, own),
        }
    }

    /// Evaluates a wish by one rule.
    #[allow(clippy::unused_self, reason = "the rules of a policy decide")]
    fn judge(
        &self,
        rule: &Rule,
        request: &Request<'_>,
        (facts, history): (&dyn Facts, &History),
        when: When,
        own: &DeviceId,
    ) -> Ruling {
        let (action, now, begins) = (request.action, when.now, when.begins);
        let mut sheet = Sheet::default();
        let class = request.class(Some(rule), own);
        requester(&mut sheet, rule, request, class);
        params(&mut sheet, rule, action);
        let kind = Kind::of(rule, action);
        let run_ms = duration(&mut sheet, rule, action, request.by_gen1);
        let run_ms = within(&mut sheet, run_ms, when.lasts);
        let weighed = evidence(&mut sheet, rule, request, class, own);
        if let Some(hours) = rule.hours {
            let result = if hours.contain(begins) {
                Ok(hours.to_string())
            } else {
                Err(format!("allowed only from {hours}"))
            };
            sheet.check("hours", Code::PolicyDenied, result);
        }
        if let Kind::Set {
            max_step,
            min_interval_ms,
        } = &kind
        {
            steps(&mut sheet, max_step, &action.params, request.now_set);
            pause(
                &mut sheet,
                rule,
                &action.target,
                history,
                *min_interval_ms,
                begins,
            );
        }
        caps(&mut sheet, rule, &action.target, history, run_ms, begins);
        for interlock in &rule.interlocks {
            let result = holds(interlock, facts, now, own, false);
            sheet.check(
                &format!("interlock: {}", interlock.text()),
                Code::InterlockOpen,
                result,
            );
        }
        if rule.level == Level::L1 {
            for condition in &rule.conditions {
                let result = holds(condition, facts, now, own, true);
                sheet.check(
                    &format!("condition: {}", condition.text()),
                    Code::PolicyDenied,
                    result,
                );
            }
        }
        if let Some((code, detail)) = sheet.failed {
            let message = format!(
                "rule {:?} refuses {}: {detail}",
                rule.name,
                action.summary()
            );
            return Ruling::Deny(Denial {
                code,
                message,
                rule: Some(rule.name.clone()),
                checks: sheet.checks,
            });
        }
        Ruling::Allow(Terms {
            standing: standing(rule, request, class, facts, now, own),
            rule: rule.name.clone(),
            class,
            level: match request.is_automatic(class) {
                true => rule.level,
                false => rule.level.max(Level::L2),
            },
            quorum: rule.quorum,
            at_node: rule.at_node,
            kind,
            deadline_ms: rule.deadline_ms,
            run_ms,
            safe_state: rule.safe_state.clone(),
            fresh_for_ms: weighed.fresh_for_ms,
            tier: weighed.tier,
            min_tier: match rule.min_evidence {
                0 => weighed.tier.unwrap_or(rule.min_tier).min(rule.min_tier),
                _ => rule.min_tier,
            },
            checks: sheet.checks,
        })
    }

    /// How the asker stands under the rule that covers the action; of a sequence, under the strictest of them.
    pub fn class_of(&self, request: &Request<'_>, own: &DeviceId) -> Class {
        let moves = self.moves(request.action);
        let class = moves.iter().map(|(rule, _)| request.class(Some(rule), own));
        class.min().unwrap_or_else(|| request.class(None, own))
    }

    fn uncovered(&self, action: &Action) -> Ruling {
        let known = self
            .rules()
            .iter()
            .any(|r| r.capability.matches(&action.target));
        let (code, message) = if known {
            (
                Code::PolicyDenied,
                format!(
                    "no rule of the policy covers {:?} on {}",
                    action.operation, action.target
                ),
            )
        } else if self.rules().is_empty() {
            (
                Code::PolicyDenied,
                "this executor has no policy, so it denies everything; write policy.toml"
                    .to_owned(),
            )
        } else {
            (
                Code::PolicyDenied,
                format!("no rule of the policy covers {}", action.target),
            )
        };
        let checks = vec![Check {
            name: "rule".into(),
            passed: false,
            detail: message.clone(),
        }];
        Ruling::Deny(Denial {
            code,
            message,
            rule: None,
            checks,
        })
    }
}

/// Whether a standing approval may count: the rule says so, the asker is a person or a rule and more than what a device
/// says of itself, nothing comes from a model, and the executor itself sees what the conditions ask for.
fn standing(
    rule: &Rule,
    request: &Request<'_>,
    class: Class,
    facts: &dyn Facts,
    now: TimeMs,
    own: &DeviceId,
) -> Result<(), String> {
    if !rule.standing_approvals || rule.level != Level::L2 {
        let name = &rule.name;
        return Err(format!(
            "rule {name:?} does not say `standing_approvals = true`, at L2"
        ));
    }
    if class.is_claimed() {
        return Err(format!("it is {class}"));
    }
    if request.by_gen1 {
        return Err("a gen-1 node acts".to_owned());
    }
    if !rule.kind.may_stand() {
        let kind = &rule.kind;
        return Err(format!("it is {kind}, which a person approves each time"));
    }
    let conditions = rule.conditions.iter();
    let mut seen = conditions.map(|c| holds(c, facts, now, own, true));
    seen.try_for_each(|one| one.map(drop))
}

fn requester(sheet: &mut Sheet, rule: &Rule, request: &Request<'_>, class: Class) {
    let result = if !rule.requesters.contains(&request.requester) {
        Err(format!("{} may not ask for this", request.requester))
    } else if rule.level == Level::L1 && request.by_gen1 {
        Ok(format!(
            "{class}, and a gen-1 node acts, so a person must approve"
        ))
    } else if rule.level == Level::L1 && !class.is_automatic() {
        Ok(format!("{class}, so a person must approve"))
    } else {
        Ok(request.requester.to_string())
    };
    sheet.check("requester", Code::PolicyDenied, result);
}

fn params(sheet: &mut Sheet, rule: &Rule, action: &Action) {
    for name in action
        .params
        .keys()
        .filter(|n| !rule.params.contains_key(*n))
    {
        // `duration_sec` and `DurationSec` are what people write for `durationSec`.
        let letters = |text: &str| text.replace(['_', '-'], "").to_lowercase();
        let meant = rule.params.keys().find(|n| letters(n) == letters(name));
        let known: Vec<&str> = rule.params.keys().map(String::as_str).collect();
        let advice = match (meant, known.is_empty()) {
            (Some(meant), _) => format!("; write {meant}"),
            (None, true) => "; it has none".to_owned(),
            (None, false) => format!("; it has {}", known.join(", ")),
        };
        sheet.check(
            "params",
            Code::PolicyDenied,
            Err(format!(
                "parameter {name} is not among the rule's params{advice}"
            )),
        );
    }
    for (name, allowed) in &rule.params {
        let result = match action.params.get(name) {
            None if allowed.required => Err(format!("parameter {name} is required")),
            None => Ok("not given".to_owned()),
            Some(value) => allowed
                .bounds
                .check(value)
                .map(|()| value.to_string())
                .map_err(|want| format!("parameter {name} {want}, it is {value}")),
        };
        sheet.check(&format!("param {name}"), Code::PolicyDenied, result);
    }
}

//! The executor's policy, straight from `policy.toml`: show, test, explain. Works while the node is
//! stopped; only `reload` asks the running node.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use super::args::{ActionArgs, Asker, PolicyCommand};
use super::context::Context;
use super::fail::{Done, Exit, Failure};
use super::start::raw_config;
use super::{format, out};
use crate::adapters::devices;
use crate::domain::base::{DeviceId, Digest, FrameId, Taint, Tier, TimeMs};
use crate::domain::capability::{Action, params_of};
use crate::domain::policy::sequence::Written;
use crate::domain::policy::{
    self, Compare, Condition, EvidenceView, History, Kind, Offered, Phase, Policy, Request,
    Requester, Rule, Ruling, STARTER_POLICY, Sequence,
};
use crate::domain::world::{Fact, SignatureState};
use crate::node::policy_book;

/// `policy …`.
///
/// # Errors
/// If the file is missing, unreadable or refused.
pub(super) async fn run(ctx: &Context, command: &PolicyCommand) -> Done {
    match command {
        PolicyCommand::Show => show(ctx),
        PolicyCommand::Test { file: given } => {
            test(ctx, given.as_deref().unwrap_or(&ctx.dir.policy_file()))
        }
        PolicyCommand::Explain { action, requester } => explain(ctx, action, *requester),
        PolicyCommand::Reload => reload(ctx).await,
        PolicyCommand::Starter => {
            out::print(STARTER_POLICY);
            Ok(())
        }
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    policy_book::read(file)
        .map_err(Failure::state)?
        .ok_or_else(|| {
            let path = file.display();
            Failure::new(
                Exit::NotFound,
                format!("there is no {path}, so every actuation is denied; start from: clawmesh-node policy starter > {path}"),
            )
        })
}

fn parse(file: &Path) -> Result<Policy, Failure> {
    Policy::parse(&read(file)?).map_err(|e| Failure::usage(format!("{}: {e}", file.display())))
}

fn show(ctx: &Context) -> Done {
    let path = ctx.dir.policy_file();
    let policy = parse(&path)?;
    if ctx.json {
        return out::json(&json!({
            "file": path,
            "digest": policy.digest(),
            "rules": policy.rules().iter().map(rule_json).collect::<Vec<_>>(),
            "sequences": policy.sequences().iter().map(sequence_json).collect::<Vec<_>>(),
            "tests": policy.run_tests(),
        }));
    }
    let failed = policy.run_tests().iter().filter(|t| !t.passed).count();
    out::facts(&[
        ("file", path.display().to_string()),
        ("digest", policy.digest().to_string()),
        (
            "tests",
            format!(
                "{} of {} pass",
                policy.run_tests().len() - failed,
                policy.run_tests().len()
            ),
        ),
    ]);
    out::line("");
    let rows: Vec<Vec<String>> = policy.rules().iter().map(rule_row).collect();
    let head = [
        "RULE",
        "CAPABILITY",
        "OPERATIONS",
        "LEVEL",
        "AT MOST",
        "THEN",
        "ONLY WHILE",
    ];
    out::table(&head, &rows, "it has no rules: every actuation is denied");
    if !policy.sequences().is_empty() {
        out::line("");
        let rows: Vec<Vec<String>> = policy.sequences().iter().flat_map(sequence_rows).collect();
        out::table(&["SEQUENCE", "STEP", "AFTER", "DOES", "UNTIL"], &rows, "");
    }
    out::line("Whatever no rule covers is denied.");
    Ok(())
}

fn rule_row(rule: &Rule) -> Vec<String> {
    let level = if rule.quorum > 1 {
        let at_node = if rule.at_node {
            ", or 1 at the node"
        } else {
            ""
        };
        format!("{} of {} people{at_node}", rule.level, rule.quorum)
    } else {
        rule.level.to_string()
    };
    vec![
        rule.name.clone(),
        rule.capability.as_str().to_owned(),
        rule.operations.join(" "),
        level,
        match &rule.kind {
            Kind::Timed => format::span(rule.deadline_ms),
            kind => kind.limits(rule.deadline_ms),
        },
        rule.safe_state.clone(),
        conditions(rule),
    ]
}

/// A row for each step of a sequence.
fn sequence_rows(sequence: &Sequence) -> Vec<Vec<String>> {
    let row = |(n, step): (usize, &Written)| {
        let name = format!("{} {}", sequence.operation, sequence.capability);
        let params = step.params.iter();
        let params = params.map(|(name, given)| format!(" {name}={given}"));
        vec![
            if n == 0 { name } else { String::new() },
            (n + 1).to_string(),
            format::span(step.wait_ms),
            format!(
                "{} {}{}",
                step.operation,
                step.actuator,
                params.collect::<String>()
            ),
            if step.stays { "the end" } else { "it is done" }.to_owned(),
        ]
    };
    sequence.steps.iter().enumerate().map(row).collect()
}

fn sequence_json(sequence: &Sequence) -> Value {
    let step = |step: &Written| {
        let params = step.params.iter();
        let params = params.map(|(name, given)| (name, given.to_string()));
        json!({
            "actuator": step.actuator,
            "operation": step.operation,
            "params": params.collect::<BTreeMap<_, _>>(),
            "waitMs": step.wait_ms,
            "until": if step.stays { "end" } else { "done" },
        })
    };
    json!({
        "capability": sequence.capability,
        "operation": sequence.operation,
        "steps": sequence.steps.iter().map(step).collect::<Vec<_>>(),
    })
}

fn conditions(rule: &Rule) -> String {
    let all = rule.interlocks.iter().chain(&rule.conditions);
    let hours = rule.hours.map(|h| h.to_string());
    let all = all.map(Condition::text).chain(hours);
    all.collect::<Vec<_>>().join(", ")
}

fn rule_json(rule: &Rule) -> Value {
    json!({
        "name": rule.name,
        "capability": rule.capability,
        "operations": rule.operations,
        "level": rule.level,
        "quorum": rule.quorum,
        "atNode": rule.at_node,
        "kind": rule.kind,
        "deadlineMs": rule.deadline_ms,
        "safeState": rule.safe_state,
        "minEvidence": rule.min_evidence,
        "minTier": rule.min_tier,
        "maxEvidenceAgeMs": rule.max_evidence_age_ms,
        "interlocks": rule.interlocks.iter().map(Condition::text).collect::<Vec<_>>(),
        "conditions": rule.conditions.iter().map(Condition::text).collect::<Vec<_>>(),
        "hours": rule.hours.map(|h| h.to_string()),
        "from": rule.from,
    })
}

fn test(ctx: &Context, path: &Path) -> Done {
    let policy = parse(path)?;
    let (results, findings) = (policy.run_tests(), policy.findings(&offered(ctx)));
    let failed = results.iter().filter(|t| !t.passed).count();
    let faults = findings.iter().filter(|f| f.fault).count();
    if ctx.json {
        out::json(
            &json!({"file": path, "passed": results.len() - failed, "failed": failed, "tests": results,
                "findings": findings}),
        )?;
    } else {
        let rows: Vec<Vec<String>> = results
            .iter()
            .map(|t| {
                let verdict = if t.passed { "pass" } else { "FAIL" };
                vec![verdict.to_owned(), t.name.clone(), t.detail.clone()]
            })
            .collect();
        out::table(
            &["", "TEST", "CAME OUT"],
            &rows,
            "the policy has no tests; add [[test]] cases",
        );
        for f in &findings {
            let kind = if f.fault { "FAULT" } else { "note" };
            out::line(&format!(
                "{kind}: line {}, rule {:?}: {}",
                f.line, f.rule, f.message
            ));
        }
    }
    let refused = match (failed, faults) {
        (0, 0) => return Ok(()),
        (0, _) => format!("{faults} faults in {}", path.display()),
        _ => format!(
            "{failed} of {} tests fail; a node refuses {} until they pass",
            results.len(),
            path.display()
        ),
    };
    Err(Failure::new(Exit::Unverified, refused))
}

/// The actuators of this node and what they can do, as far as its configuration tells: those it
/// names, and the simulated kit.
fn offered(ctx: &Context) -> Vec<Offered> {
    let config = raw_config(&ctx.dir).ok().flatten();
    devices::offers(&config.map(|c| c.devices).unwrap_or_default())
}

/// A fact for which the condition holds, so that `explain` shows the rest of the answer.
fn holding(condition: &Condition, own: &DeviceId, now: TimeMs) -> Option<Fact> {
    let value = match condition.compare {
        Compare::Lt => condition.value - 1.0,
        Compare::Gt | Compare::Ne => condition.value + 1.0,
        Compare::Le | Compare::Ge | Compare::Eq => condition.value,
    };
    let origin = match &condition.origin {
        Some(policy::Origin::Device(id)) => id.clone(),
        _ => own.clone(),
    };
    Some(Fact {
        metric: condition.metric.clone(),
        zone: condition.zone.clone(),
        origin,
        value,
        unit: None,
        frame_id: "assumed".parse::<FrameId>().ok()?,
        content: Digest::of(&[b"assumed"]),
        claimed: Tier::T3,
        effective: Tier::T3,
        signature: SignatureState::Verified,
        taint: BTreeSet::new(),
        sensed_at: now,
        received_at: now,
        private: false,
    })
}

fn explain(ctx: &Context, args: &ActionArgs, asker: Asker) -> Done {
    let policy = parse(&ctx.dir.policy_file())?;
    let target = args.target.parse().map_err(Failure::usage)?;
    let action = Action::new(
        target,
        &args.operation,
        params_of(args.params.iter().cloned()).map_err(Failure::usage)?,
    )
    .map_err(Failure::usage)?;
    let (requester, taint) = match asker {
        Asker::Rules => (Requester::Rules, BTreeSet::new()),
        Asker::Person => (Requester::Person, BTreeSet::new()),
        Asker::Llm => (Requester::Llm, BTreeSet::from([Taint::Llm])),
    };
    let (own, now) = (DeviceId::of_public_key(&[0; 32]), ctx.time());
    let moves = policy.moves(&action);
    let rules = || moves.iter().map(|(rule, _)| *rule);
    let rule = policy.rule_for(&action);
    let facts: Vec<Fact> = rules()
        .flat_map(|r| r.interlocks.iter().chain(&r.conditions))
        .filter_map(|c| holding(c, &own, now))
        .collect();
    let good = EvidenceView {
        origin: own.clone(),
        effective: Tier::T3,
        age_ms: 0,
        signature: SignatureState::Verified,
    };
    let evidence = vec![good; rules().map(|r| r.min_evidence).max().unwrap_or_default()];
    let request = Request {
        action: &action,
        requester,
        from: &own,
        taint: &taint,
        evidence: &evidence,
        phase: Phase::Propose,
        now_set: None,
        by_gen1: offered(ctx).iter().any(|o| {
            o.by_gen1
                && (o.capability == action.target
                    || moves.iter().any(|(_, a)| a.target == o.capability))
        }),
    };
    let ruling = policy.evaluate(&request, &facts, &History::default(), now, &own);
    answer(ctx, &action, rule, &ruling)
}

fn answer(ctx: &Context, action: &Action, rule: Option<&Rule>, ruling: &Ruling) -> Done {
    let provided = rule.map(conditions).unwrap_or_default();
    let checks = match ruling {
        Ruling::Allow(terms) => &terms.checks,
        Ruling::Deny(denial) => &denial.checks,
    };
    let assumed =
        "evidence of the kind the rule asks for, every condition on the world met, no earlier runs";
    if ctx.json {
        let mut body = match ruling {
            Ruling::Allow(t) => json!({"ruling": "allow", "rule": t.rule, "level": t.level,
                "quorum": t.quorum, "atNode": t.at_node, "kind": t.kind, "runMs": t.run_ms, "deadlineMs": t.deadline_ms, "safeState": t.safe_state}),
            Ruling::Deny(d) => {
                json!({"ruling": "deny", "rule": d.rule, "code": d.code, "message": d.message})
            }
        };
        body["action"] = json!(action);
        body["checks"] = json!(checks);
        body["assumed"] = json!(assumed);
        body["provided"] = json!(provided);
        return out::json(&body);
    }
    let said = match ruling {
        Ruling::Allow(t) => format!(
            "{} by rule \"{}\": {} operator(s) must approve{}; it runs {} and ends with {}",
            t.level,
            t.rule,
            if t.level < policy::Level::L2 {
                0
            } else {
                t.quorum
            },
            if t.at_node {
                ", or one with the code shown at the executor"
            } else {
                ""
            },
            t.kind.lasts(t.run_ms),
            t.safe_state
        ),
        Ruling::Deny(d) => format!("denied, {}: {}", d.code, d.message),
    };
    let steps = match ruling {
        Ruling::Allow(t) => t.kind.steps(),
        Ruling::Deny(_) => &[],
    };
    let mut facts = vec![("action", action.summary()), ("answer", said)];
    let steps = steps.iter().enumerate();
    facts.extend(steps.map(|(n, step)| ("step", format!("{}. {}", n + 1, step.in_words()))));
    facts.extend([("provided", provided), ("assumed", assumed.to_owned())]);
    out::facts(&facts);
    out::line("");
    let rows: Vec<Vec<String>> = checks
        .iter()
        .map(|c| {
            let verdict = if c.passed { "pass" } else { "FAIL" };
            vec![verdict.to_owned(), c.name.clone(), c.detail.clone()]
        })
        .collect();
    out::table(&["", "CHECK", "FOUND"], &rows, "nothing had to be checked");
    Ok(())
}

async fn reload(ctx: &Context) -> Done {
    let state = ctx.remote().await?.policy_reload().await?;
    if ctx.json {
        return out::json(&state);
    }
    out::line(&format!(
        "in force: {} rules, digest {}",
        state.rules, state.digest
    ));
    Ok(())
}

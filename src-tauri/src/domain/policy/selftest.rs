//! A policy's own tests: cases in the file that must come out as written before it is accepted.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::evaluate::{EvidenceView, History, Phase, Request, Ruling, RunView};
use super::{Level, Policy, Requester};
use crate::domain::base::{Code, DeviceId, Digest, Taint, Tier, TimeMs};
use crate::domain::capability::{Action, Params, read_params};
use crate::domain::world::{Fact, SignatureState};

/// 2026-01-01 12:00 UTC, the time of a test that names none.
const DEFAULT_TIME: TimeMs = TimeMs(1_767_268_800_000);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTest {
    pub(super) name: String,
    requester: String,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    tainted: bool,
    target: String,
    operation: String,
    #[serde(default, deserialize_with = "read_params")]
    params: Params,
    #[serde(default)]
    at: Option<String>,
    #[serde(default)]
    facts: Vec<RawFact>,
    #[serde(default)]
    evidence: Vec<RawEvidence>,
    #[serde(default)]
    runs_last_hour: u32,
    #[serde(default, deserialize_with = "read_set")]
    now_set: Option<Params>,
    expect: String,
    #[serde(default)]
    because: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFact {
    metric: String,
    #[serde(default)]
    zone: Option<String>,
    value: f64,
    #[serde(default)]
    age_sec: u64,
    #[serde(default)]
    tier: Option<String>,
    #[serde(default)]
    origin: Option<String>,
    #[serde(default)]
    verified: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEvidence {
    #[serde(default)]
    tier: Option<String>,
    #[serde(default)]
    age_sec: u64,
    #[serde(default)]
    origin: Option<String>,
    #[serde(default)]
    verified: Option<bool>,
}

/// One case.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Test {
    name: String,
    requester: Requester,
    from: DeviceId,
    tainted: bool,
    action: Action,
    at: TimeMs,
    facts: Vec<Fact>,
    evidence: Vec<EvidenceView>,
    runs_last_hour: u32,
    now_set: Option<Params>,
    expect: Expect,
}

#[derive(Debug, Clone, PartialEq)]
enum Expect {
    Level(Level),
    Deny(Option<String>),
}

fn read_set<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Params>, D::Error> {
    read_params(from).map(Some)
}

/// How one case came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct TestResult {
    /// The case.
    pub name: String,
    /// Whether it came out as written.
    pub passed: bool,
    /// What came out.
    pub detail: String,
}

/// The executor in a test.
fn own() -> DeviceId {
    DeviceId::of_public_key(&[0; 32])
}

fn origin(text: Option<&str>) -> Result<DeviceId, String> {
    match text {
        None | Some("self") => Ok(own()),
        Some(id) => id
            .parse()
            .map_err(|e| format!("origin must be self or a device id: {e}")),
    }
}

fn tier(text: Option<&str>) -> Result<Tier, String> {
    text.unwrap_or("T2").parse()
}

fn signature(verified: Option<bool>) -> SignatureState {
    if verified.unwrap_or(true) {
        SignatureState::Verified
    } else {
        SignatureState::Unverifiable
    }
}

impl Test {
    pub(super) fn resolve(raw: RawTest) -> Result<Test, String> {
        let target = raw.target.parse().map_err(|e| format!("target: {e}"))?;
        let at = match &raw.at {
            None => DEFAULT_TIME,
            Some(text) => {
                let moment = OffsetDateTime::parse(text, &Rfc3339)
                    .map_err(|e| format!("at must be like 2026-06-01T12:00:00Z: {e}"))?;
                let ms = moment.unix_timestamp_nanos() / 1_000_000;
                TimeMs(u64::try_from(ms).map_err(|_| "at must be after 1970".to_owned())?)
            }
        };
        let expect = match (raw.expect.as_str(), raw.because) {
            ("deny", Some(code)) if Code::from_wire(&code).is_none() => {
                return Err(format!("unknown code {code:?}"));
            }
            ("deny", because) => Expect::Deny(because),
            (level, None) => {
                Expect::Level(level.parse().map_err(|e| format!("expect: deny, or {e}"))?)
            }
            _ => return Err("because goes with expect = \"deny\"".to_owned()),
        };
        Ok(Test {
            requester: raw.requester.parse()?,
            from: origin(raw.from.as_deref()).map_err(|e| e.replace("origin", "from"))?,
            tainted: raw.tainted,
            action: Action::new(target, &raw.operation, raw.params).map_err(|e| e.to_string())?,
            at,
            facts: raw
                .facts
                .iter()
                .map(|f| fact(f, at))
                .collect::<Result<_, _>>()?,
            evidence: raw
                .evidence
                .iter()
                .map(evidence)
                .collect::<Result<_, _>>()?,
            runs_last_hour: raw.runs_last_hour.min(10_000),
            now_set: raw.now_set,
            expect,
            name: raw.name,
        })
    }
}

fn fact(raw: &RawFact, at: TimeMs) -> Result<Fact, String> {
    let tier = tier(raw.tier.as_deref())?;
    let sensed_at = TimeMs(at.0.saturating_sub(raw.age_sec.saturating_mul(1_000)));
    Ok(Fact {
        metric: raw.metric.clone(),
        zone: raw.zone.clone(),
        origin: origin(raw.origin.as_deref())?,
        value: raw.value,
        unit: None,
        frame_id: uuid::Uuid::nil().into(),
        content: Digest::of(&[b"test"]),
        claimed: tier,
        effective: tier,
        signature: signature(raw.verified),
        taint: Default::default(),
        sensed_at,
        received_at: sensed_at,
        private: false,
    })
}

fn evidence(raw: &RawEvidence) -> Result<EvidenceView, String> {
    Ok(EvidenceView {
        origin: origin(raw.origin.as_deref())?,
        effective: tier(raw.tier.as_deref())?,
        age_ms: raw.age_sec.saturating_mul(1_000),
        signature: signature(raw.verified),
    })
}

impl Policy {
    /// Runs the policy's own tests.
    pub fn run_tests(&self) -> Vec<TestResult> {
        self.tests.iter().map(|test| self.run_test(test)).collect()
    }

    fn run_test(&self, test: &Test) -> TestResult {
        let taint = if test.tainted {
            [Taint::Llm].into()
        } else {
            Default::default()
        };
        let request = Request {
            action: &test.action,
            requester: test.requester,
            from: &test.from,
            taint: &taint,
            evidence: &test.evidence,
            phase: Phase::Propose,
            by_gen1: false,
            now_set: test.now_set.as_ref(),
        };
        // A run of a sequence is one of each of its steps too.
        let moves = self.moves(&test.action);
        let runs = moves.into_iter().flat_map(|(rule, action)| {
            let run = RunView {
                rule: rule.name.clone(),
                target: action.target.as_str().to_owned(),
                operation: action.operation.clone(),
                started_at: TimeMs(test.at.0.saturating_sub(1_800_000)),
                duration_ms: 1_000,
            };
            std::iter::repeat_n(run, usize::try_from(test.runs_last_hour).unwrap_or(0))
        });
        let runs = runs.collect();
        let ruling = self.evaluate(&request, &test.facts, &History { runs }, test.at, &own());
        let (passed, detail) = match (&ruling, &test.expect) {
            (Ruling::Allow(terms), Expect::Level(level)) => (
                terms.level == *level,
                format!("allowed at {}, expected {level}", terms.level),
            ),
            (Ruling::Allow(terms), Expect::Deny(_)) => {
                (false, format!("allowed at {}, expected deny", terms.level))
            }
            (Ruling::Deny(denial), Expect::Level(level)) => (
                false,
                format!(
                    "denied ({}: {}), expected {level}",
                    denial.code, denial.message
                ),
            ),
            (Ruling::Deny(denial), Expect::Deny(None)) => {
                (true, format!("denied: {}", denial.message))
            }
            (Ruling::Deny(denial), Expect::Deny(Some(code))) => (
                denial.code.as_str() == code,
                format!(
                    "denied ({}: {}), expected {code}",
                    denial.code, denial.message
                ),
            ),
        };
        TestResult {
            name: test.name.clone(),
            passed,
            detail,
        }
    }
}

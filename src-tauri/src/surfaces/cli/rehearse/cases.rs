//! What may happen to a run: its time is up, somebody stops it, the node ends or is killed, a sensor falls silent or
//! says that an interlock is open, the actuator does not take the safe state at once. Each is played to a node of its own.

use std::path::Path;

use super::bench::{Bench, PATIENCE_MS};
use super::plan::{Piece, Watched};

/// Within which time a run that has to end must be over, in milliseconds (DESIGN §8: a second), with what this machine
/// takes to write it down.
const END_WITHIN_MS: u64 = 1_500;
/// How long an actuator that takes no orders is left so at least, in milliseconds.
const REFUSES_MS: u64 = 1_500;
/// Within which time it must be safe after that: the pause between attempts has grown by then, in milliseconds.
const BACK_WITHIN_MS: u64 = 10_000;

/// What happens to a run.
#[derive(Debug, Clone)]
pub(super) enum Case {
    TimeUp,
    Stopped,
    EmergencyStop,
    NodeEnds,
    NodeKilled,
    Silent(Watched),
    Open(Watched, f64),
    Refuses,
}

/// What came of it.
#[derive(Debug, Clone)]
pub(super) struct Came {
    /// Whether the actuator was safe in time.
    pub safe: bool,
    /// After how long, in milliseconds; `None` where it was not seen to be.
    pub after_ms: Option<u64>,
    /// What to know of it.
    pub note: String,
}

impl Case {
    /// Everything that may happen to a run.
    pub(super) fn all(piece: &Piece) -> Vec<Case> {
        let mut all = vec![
            Case::TimeUp,
            Case::Stopped,
            Case::EmergencyStop,
            Case::NodeEnds,
            Case::NodeKilled,
            Case::Refuses,
        ];
        for watched in &piece.readings {
            all.extend(watched.bad.map(|bad| Case::Open(watched.clone(), bad)));
            all.push(Case::Silent(watched.clone()));
        }
        all
    }

    /// What happens, in words.
    pub(super) fn name(&self) -> String {
        match self {
            Case::TimeUp => "its time is up".to_owned(),
            Case::Stopped => "a person stops it".to_owned(),
            Case::EmergencyStop => "emergency stop".to_owned(),
            Case::NodeEnds => "the node is told to end".to_owned(),
            Case::NodeKilled => "the node is killed".to_owned(),
            Case::Silent(watched) => format!("{} falls silent", watched.metric),
            Case::Open(watched, bad) => format!("{} becomes {bad}", watched.metric),
            Case::Refuses => "the actuator takes no orders for a while".to_owned(),
        }
    }

    /// How long it may take before the actuator has to be safe, in milliseconds.
    pub(super) fn takes_ms(&self, piece: &Piece) -> u64 {
        match self {
            Case::TimeUp => piece.short_ms,
            Case::Silent(watched) => watched.silent_ms,
            Case::Refuses => REFUSES_MS,
            _ => 0,
        }
    }

    /// Plays it.
    ///
    /// # Errors
    /// Why it could not be played.
    pub(super) async fn play(
        &self,
        program: &Path,
        piece: &Piece,
        policy: &str,
    ) -> Result<Came, String> {
        let mut bench = Bench::new(program, piece, policy)?;
        bench.enrol().await?;
        bench.start().await?;
        let params = match self {
            Case::TimeUp => &piece.short,
            _ => &piece.long,
        };
        let (id, began) = begin(&bench, piece, params).await?;
        let came = match self {
            Case::TimeUp => {
                let over = began.saturating_add(piece.short_ms);
                let safe = bench.until(true, began, piece.short_ms + END_WITHIN_MS);
                came(safe.await?, over)
            }
            Case::Stopped => {
                let from = bench.now();
                bench.run(&["stop", &id]).await?;
                came(bench.until(true, from, END_WITHIN_MS).await?, from)
            }
            Case::EmergencyStop => {
                let from = bench.now();
                let words = ["estop", "--reason", "rehearsal"];
                bench.run(&words).await?;
                came(bench.until(true, from, END_WITHIN_MS).await?, from)
            }
            Case::NodeEnds => {
                let from = bench.now();
                bench.end().await?;
                came(bench.until(true, from, 0).await?, from)
            }
            Case::NodeKilled => {
                let cut = bench.now();
                bench.kill().await?;
                let from = bench.now();
                bench.start().await?;
                let mut came = came(bench.until(true, from, PATIENCE_MS).await?, from);
                let kept = match bench.told(cut)?.iter().filter(|told| !told.safe).count() {
                    0 => {
                        "after the node was started again; until then only what the device does by itself"
                    }
                    _ => "it was started a second time",
                };
                came.safe &= !kept.starts_with("it was started");
                kept.clone_into(&mut came.note);
                came
            }
            Case::Silent(watched) => {
                let from = bench.now();
                bench.behave(|b| {
                    b.readings.insert(watched.metric.clone(), None);
                })?;
                let over = from.saturating_add(watched.silent_ms);
                let within = watched.silent_ms + END_WITHIN_MS;
                came(bench.until(true, from, within).await?, over)
            }
            Case::Open(watched, bad) => {
                let from = bench.now();
                bench.behave(|b| {
                    b.readings.insert(watched.metric.clone(), Some(*bad));
                })?;
                came(bench.until(true, from, END_WITHIN_MS).await?, from)
            }
            Case::Refuses => refuses(&mut bench, &id).await?,
        };
        let mut came = came;
        if came.note.is_empty() {
            came.note = outcome(&bench, &id).await.unwrap_or_default();
        }
        // Whether it ends well is another case.
        let _ = bench.end().await;
        Ok(came)
    }
}

/// How the run ended, as everybody is told; nothing where the node has ended.
async fn outcome(bench: &Bench, id: &str) -> Option<String> {
    let over = bench.now().saturating_add(END_WITHIN_MS);
    while bench.now() < over {
        let all = bench.run(&["proposals", "--all"]).await.ok()?;
        let run = all.as_array()?.iter().find(|p| p["id"] == id)?;
        if run["outcome"].is_object() {
            let (status, detail) = (run["status"].as_str()?, run["detail"].as_str()?);
            return Some(format!("{status}: {detail}"));
        }
    }
    None
}

/// Starts the run; the proposal and when the actuator was told.
async fn begin(bench: &Bench, piece: &Piece, params: &[String]) -> Result<(String, u64), String> {
    let mut words = vec!["propose", piece.target.as_str(), &piece.operation];
    words.extend(params.iter().map(String::as_str));
    words.extend(["--reason", "rehearsal"]);
    let over = bench.now().saturating_add(PATIENCE_MS);
    let from = bench.now();
    // The first readings are a moment away, and an interlock needs them.
    let proposed = loop {
        match bench.run(&words).await {
            Ok(proposed) => break proposed,
            Err(why) if bench.now() > over => return Err(format!("it does not start: {why}")),
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    };
    let id = proposed["proposalId"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    bench.run(&["approve", &id, "--yes"]).await?;
    let began = bench
        .until(false, from, PATIENCE_MS)
        .await?
        .ok_or("it was approved and did not start")?;
    Ok((id, began))
}

fn came(safe_at: Option<u64>, due: u64) -> Came {
    Came {
        safe: safe_at.is_some(),
        after_ms: safe_at.map(|at| at.saturating_sub(due)),
        note: String::new(),
    }
}

/// The actuator takes no orders when it is stopped; that must be told as an alarm, and be tried until it does.
async fn refuses(bench: &mut Bench, id: &str) -> Result<Came, String> {
    let target = bench.target().to_owned();
    bench.behave(|b| {
        b.refuse.insert(target.clone());
    })?;
    let from = bench.now();
    // It fails where the actuator is not safe, which is what is played.
    let _ = bench.run(&["stop", id]).await;
    // With an alarm `status` fails, and says so.
    let mut told = bench.run(&["status"]).await.is_err();
    while bench.now() < from.saturating_add(REFUSES_MS) {
        told |= bench.run(&["status"]).await.is_err();
    }
    let back = bench.now();
    bench.behave(|b| {
        b.refuse.remove(&target);
    })?;
    let mut came = came(bench.until(true, back, BACK_WITHIN_MS).await?, back);
    came.safe &= told;
    came.note = match told {
        true => "an alarm stood meanwhile, and it was tried again",
        false => "no alarm told of it",
    }
    .to_owned();
    Ok(came)
}

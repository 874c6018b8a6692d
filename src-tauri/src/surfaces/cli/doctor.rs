//! `doctor`: asks the node if one runs, looks at the rest itself, prints a line each, and writes a bundle if told to.

use serde_json::json;

use super::args::DoctorArgs;
use super::context::Context;
use super::fail::{Done, Exit, Failure};
use super::{clean, out};
use crate::adapters::clock::SystemClock;
use crate::adapters::paths::{PathError, create_private};
use crate::domain::base::limits::BUNDLE_EVENTS_MAX;
use crate::node::surroundings::environment;
use crate::node::{RawConfig, hosting};
use crate::operator::doctor::bundle::{Secrets, Told, made};
use crate::operator::doctor::local::{Machine, look};
use crate::operator::doctor::{Finding, Grade, fault, running, worst};

/// `doctor`.
///
/// # Errors
/// If there is a fault, or the bundle cannot be written.
pub(super) async fn run(ctx: &Context, args: &DoctorArgs) -> Done {
    let (mut all, told) = asked(ctx).await;
    let (dir, runs) = (ctx.dir.clone(), told.status.is_some());
    let local = tokio::task::spawn_blocking(move || {
        let clock = SystemClock::default();
        look(&Machine {
            dir: &dir,
            clock: &clock,
            variables: environment,
            running: runs || dir.in_use(),
        })
    });
    let local = local.await;
    let mut findings = local.map_err(|e| Failure::failed(format!("the look was cut off: {e}")))?;
    findings.append(&mut all);
    if let Some(file) = &args.bundle {
        let variables: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let config = hosting::shown(&ctx.dir, RawConfig::default()).unwrap_or_default();
        let secrets = Secrets::of(&ctx.dir, &variables);
        let version = env!("CARGO_PKG_VERSION");
        let about = (&ctx.dir, version, ctx.time());
        let bundle = made(about, &findings, &config, &told, &secrets);
        let text = serde_json::to_vec_pretty(&bundle).map_err(Failure::failed)?;
        create_private(file, &text).map_err(|error| match error {
            PathError::Io { source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists => {
                let shown = file.display();
                Failure::failed(format!(
                    "{shown} is there already and is left as it is; name another file"
                ))
            }
            other => Failure::failed(other),
        })?;
    }
    if ctx.json {
        out::json(&json!({"worst": worst(&findings), "findings": findings}))?;
    } else {
        findings.iter().for_each(line);
        if let Some(file) = &args.bundle {
            out::line(&format!(
                "{} holds what was found, without secrets; look at it before you hand it on",
                file.display()
            ));
        }
    }
    let faults = findings.iter().filter(|f| f.grade == Grade::Fault).count();
    match faults {
        0 => Ok(()),
        1 => Err(Failure::new(Exit::Unverified, "there is 1 fault")),
        n => Err(Failure::new(
            Exit::Unverified,
            format!("there are {n} faults"),
        )),
    }
}

fn line(finding: &Finding) {
    let grade = finding.grade.as_str();
    out::line(&format!(
        "{grade:<8} {:<13} {}",
        finding.check,
        clean::line(&finding.message)
    ));
    if !finding.advice.is_empty() {
        out::line(&format!("{:22} → {}", "", clean::line(&finding.advice)));
    }
}

/// What the running node tells, and what that means.
async fn asked(ctx: &Context) -> (Vec<Finding>, Told) {
    let mut told = Told::default();
    let remote = match ctx.running().await {
        Ok(Some(remote)) => remote,
        Ok(None) => return (vec![running::none()], told),
        Err(failure) => return (vec![silent(&failure.message)], told),
    };
    let status = match remote.status().await {
        Ok(status) => status,
        Err(error) => return (vec![silent(&error.to_string())], told),
    };
    let mut findings = running::node(&status);
    told.status = Some(status);
    match (remote.trust().await, remote.peers().await) {
        (Ok(trusted), Ok(peers)) => {
            findings.extend(running::peers(&trusted, &peers, ctx.now()));
            told.peers = peers;
        }
        (Err(error), _) | (_, Err(error)) => findings.push(silent(&error.to_string())),
    }
    told.events = remote
        .events(None, None, BUNDLE_EVENTS_MAX)
        .await
        .unwrap_or_default();
    (findings, told)
}

fn silent(why: &str) -> Finding {
    let advice = "its log says more; `systemctl status clawmesh-node` where it is a service";
    fault(
        "node",
        format!("a node runs here and does not answer: {why}"),
        advice,
    )
}

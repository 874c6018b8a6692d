//! `audit`: check the hash chain, list its entries, write it out. All but `show` work while the node
//! is stopped, and an exported file is checked without any node.

use std::fs::File;
use std::io::{BufReader, ErrorKind};
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::args::AuditCommand;
use super::context::Context;
use super::fail::{Done, Exit, Failure};
use super::registry::Registry;
use super::{format, out};
use crate::adapters::files;
use crate::domain::base::DeviceId;
use crate::operator::audit_export::check_file;
use crate::operator::dto::{AuditReport, AuditView};

/// The advice after a fault in this node's own trail.
const KEEP_STATE: &str =
    "keep a copy of the state directory as it is before anything else is done with it";
/// The advice after a fault in an exported file, which is not the trail itself.
const EXPORT_AGAIN: &str = "the file was altered or cut off after it was written: do not rely on it; keep it, and export \
     the trail again at its node";

/// `audit …`
///
/// # Errors
/// Exit code 6 if the chain has a fault, naming the first; 3 if the file to check is not there.
pub(super) async fn run(ctx: &Context, command: &AuditCommand) -> Done {
    if let AuditCommand::Verify {
        file: Some(file),
        device,
    } = command
    {
        return verify_file(ctx, file, device.as_deref());
    }
    let registry = Registry::look_existing(ctx).await?;
    let done = match command {
        AuditCommand::Verify { .. } => match registry.audit_verify().await {
            Ok(report) => judge(ctx, &report, &report, "", KEEP_STATE),
            Err(failure) => Err(failure),
        },
        AuditCommand::Export { out } => export(&registry, out.as_deref()).await,
        AuditCommand::Show { limit } => show(ctx, &registry, *limit).await,
    };
    registry.close().await;
    done
}

/// Checks an exported file.
fn verify_file(ctx: &Context, path: &Path, device: Option<&str>) -> Done {
    let shown = path.display();
    let device = device
        .map(str::parse::<DeviceId>)
        .transpose()
        .map_err(|e| Failure::usage(format!("--device: {e}")))?;
    let file = files::open(path).map_err(|e| {
        let exit = match e.kind() {
            ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::Failed,
        };
        Failure::new(exit, format!("{shown} cannot be read: {e}"))
    })?;
    let found = check_file(&mut BufReader::new(file), device.as_ref()).map_err(|refusal| {
        Failure::new(Exit::Unverified, format!("{shown}: {}", refusal.message))
    })?;
    let whose = format!(
        " of {}, exported {}",
        found.device_id,
        format::moment(found.exported_at)
    );
    judge(ctx, &found.report, &found, &whose, EXPORT_AGAIN)
}

/// Tells what checking came to; `advice` says what to do about a fault.
fn judge(
    ctx: &Context,
    report: &AuditReport,
    shown: &impl Serialize,
    whose: &str,
    advice: &str,
) -> Done {
    if ctx.json {
        out::json(shown)?;
    } else if report.ok {
        let head = report
            .head
            .as_deref()
            .map(format::short)
            .unwrap_or_else(|| "none".to_owned());
        out::line(&format!(
            "{} entries{whose}, every one in place, unaltered and signed; head {head}",
            report.entries
        ));
    } else {
        // The first is told by the failure itself.
        for fault in report.faults.iter().skip(1) {
            out::line(&format!("another fault: {fault}"));
        }
    }
    if report.ok {
        return Ok(());
    }
    let first = report
        .faults
        .first()
        .map_or("none is named", String::as_str);
    let found = match report.faults.len() {
        0 | 1 => format!("a fault: {first}"),
        n => format!("{n} faults, the first: {first}"),
    };
    Err(Failure::new(
        Exit::Unverified,
        format!("the audit trail has {found}; {advice}"),
    ))
}

/// Writes the trail; a file that is there already is left as it is.
async fn export(registry: &Registry, path: Option<&Path>) -> Done {
    let Some(path) = path else {
        return registry.audit_export(&mut std::io::stdout()).await;
    };
    let shown = path.display();
    let failed = |e: std::io::Error| Failure::failed(format!("{shown} cannot be written: {e}"));
    let mut file = File::create_new(path).map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => Failure::failed(format!(
            "{shown} is there already and is left as it is; name another file, or move that one away"
        )),
        _ => failed(e),
    })?;
    registry.audit_export(&mut file).await?;
    file.sync_all().map_err(failed)?;
    out::line(&format!(
        "written to {shown}; check it anywhere: clawmesh-node audit verify --file {shown}"
    ));
    Ok(())
}

/// The subject of an entry: a device or a person by the name that the entry gives.
fn subject(e: &AuditView) -> String {
    let people = ["trust.", "operator.", "person."];
    let named = match people.iter().any(|of| e.kind.starts_with(of)) {
        true => e.detail.get("name").and_then(Value::as_str),
        false => None,
    };
    format::who(named, &e.subject)
}

async fn show(ctx: &Context, registry: &Registry, limit: usize) -> Done {
    let mut entries = registry.audit_show(limit).await?;
    entries.sort_by_key(|e| e.seq);
    if ctx.json {
        return out::json(&entries);
    }
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|e| {
            vec![
                e.seq.to_string(),
                format::age(ctx.now(), e.time),
                e.kind.clone(),
                subject(e),
                format::short(&e.hash),
                format::cut(&format::pairs(&e.detail), 90),
            ]
        })
        .collect();
    let head = ["SEQ", "AGE", "KIND", "SUBJECT", "HASH", "DETAIL"];
    out::table(&head, &rows, "the audit trail is empty");
    Ok(())
}

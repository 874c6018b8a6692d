//! `audit`: check the hash chain, list its entries. `verify` works while the node is stopped.

use super::args::AuditCommand;
use super::context::Context;
use super::fail::{Done, Exit, Failure};
use super::state::Registry;
use super::{out, text};

/// `audit …`
///
/// # Errors
/// Exit code 6 if the chain has a fault, naming the first.
pub async fn run(ctx: &Context, command: &AuditCommand) -> Done {
    let registry = Registry::open_existing(ctx).await?;
    let done = match command {
        AuditCommand::Verify => verify(ctx, &registry).await,
        AuditCommand::Show { limit } => show(ctx, &registry, *limit).await,
    };
    registry.close().await;
    done
}

async fn verify(ctx: &Context, registry: &Registry) -> Done {
    let report = registry.audit_verify().await?;
    if ctx.json {
        out::json(&report)?;
    } else if report.ok {
        let head = report
            .head
            .as_deref()
            .map(text::short)
            .unwrap_or_else(|| "none".to_owned());
        out::line(&format!(
            "{} entries, every one in place, unaltered and signed; head {head}",
            report.entries
        ));
    } else {
        for fault in &report.faults {
            out::line(&format!("fault: {fault}"));
        }
    }
    if report.ok {
        return Ok(());
    }
    let first = report
        .faults
        .first()
        .cloned()
        .unwrap_or_else(|| "no fault is named".to_owned());
    Err(Failure::new(
        Exit::Unverified,
        format!(
            "the audit trail has {} fault(s); the first: {first}; keep a copy of the state directory",
            report.faults.len()
        ),
    ))
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
                text::age(ctx.now(), e.time),
                e.kind.clone(),
                text::short(&e.subject),
                text::short(&e.hash),
                super::look::cut(&text::pairs(&e.detail), 90),
            ]
        })
        .collect();
    let head = ["SEQ", "AGE", "KIND", "SUBJECT", "HASH", "DETAIL"];
    out::table(&head, &rows, "the audit trail is empty");
    Ok(())
}

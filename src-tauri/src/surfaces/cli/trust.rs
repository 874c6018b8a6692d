//! `trust`: which devices this node trusts, and with what. Through the running node, or in the
//! state directory while it is stopped.

use super::args::TrustCommand;
use super::context::{Context, unique};
use super::fail::{Done, Failure};
use super::registry::Registry;
use super::{consent, format, out};
use crate::domain::admission::{Grant, Grants, Preset, worst};
use crate::operator::dto::{ShareView, TrustAdd, TrustRecordView};
use crate::operator::registry;

/// `trust …`
///
/// # Errors
/// If the device is not found, a grant is unknown, or the state directory cannot be used.
pub(super) async fn run(ctx: &Context, command: &TrustCommand) -> Done {
    if matches!(command, TrustCommand::Presets) {
        return presets(ctx);
    }
    let registry = match command {
        TrustCommand::List | TrustCommand::Show { .. } => Registry::look(ctx).await?,
        _ => Registry::open(ctx).await?,
    };
    let done = act(ctx, &registry, command).await;
    registry.close().await;
    done
}

async fn act(ctx: &Context, registry: &Registry, command: &TrustCommand) -> Done {
    match command {
        TrustCommand::Add {
            device,
            name,
            public_key,
            preset,
            grants,
            yes,
        } => {
            warn_of_admin(preset.as_deref(), grants.as_deref(), *yes)?;
            let add = TrustAdd {
                device_id: device.clone(),
                public_key: public_key.clone(),
                name: name.clone(),
                preset: preset.clone(),
                grants: grants.clone(),
            };
            changed(ctx, &registry.trust_add(&add).await?, "trusted")
        }
        TrustCommand::Presets => presets(ctx),
        TrustCommand::List => list(ctx, &registry.trust_list().await?),
        TrustCommand::Show { device } => {
            let record = find(registry, device).await?;
            show(ctx, &record)
        }
        TrustCommand::Remove { device } => {
            let id = find(registry, device).await?.device_id;
            changed(ctx, &registry.trust_remove(&id).await?, "trusted no longer")
        }
        TrustCommand::Grant {
            device,
            grants,
            yes,
        } => {
            warn_of_admin(None, Some(grants), *yes)?;
            let id = find(registry, device).await?.device_id;
            changed(ctx, &registry.trust_grant(&id, grants).await?, "changed")
        }
        TrustCommand::Revoke { device, grants, .. } => {
            let id = find(registry, device).await?.device_id;
            match grants {
                Some(grants) => {
                    changed(ctx, &registry.trust_ungrant(&id, grants).await?, "changed")
                }
                None => changed(ctx, &registry.trust_revoke(&id).await?, "revoked for good"),
            }
        }
    }
}

/// Says what `admin` means before it is given, and takes a yes.
pub(super) fn warn_of_admin(preset: Option<&str>, grants: Option<&str>, yes: bool) -> Done {
    let preset = preset.and_then(|p| p.parse::<Preset>().ok());
    let grants = grants.and_then(|g| g.parse::<Grants>().ok());
    let gives = preset.is_some_and(|p| p.grants().has(Grant::Admin))
        || grants.is_some_and(|g| g.has(Grant::Admin));
    match gives {
        true => consent::to_change(yes, worst::ADMIN_WARNING.en),
        false => Ok(()),
    }
}

fn presets(ctx: &Context) -> Done {
    let table = registry::grant_table();
    if ctx.json {
        return out::json(&table);
    }
    let rows: Vec<Vec<String>> = table
        .presets
        .into_iter()
        .map(|p| vec![p.preset, p.grants.join(" "), p.for_whom.en])
        .collect();
    out::table(&["PRESET", "GRANTS", "FOR"], &rows, "");
    out::line("");
    let rows: Vec<Vec<String>> = table
        .grants
        .into_iter()
        .map(|g| vec![g.grant, g.worst.en])
        .collect();
    out::table(
        &["GRANT", "WHAT A DEVICE WITH IT CAN DO HERE AT WORST"],
        &rows,
        "",
    );
    Ok(())
}

async fn find(registry: &Registry, wanted: &str) -> Result<TrustRecordView, Failure> {
    let all = registry.trust_list().await?;
    let id = unique(
        "trusted device",
        wanted,
        all.iter().map(|r| r.device_id.as_str()),
    )?;
    all.into_iter()
        .find(|r| r.device_id == id)
        .ok_or_else(|| Failure::failed(format!("the record of {id} went away meanwhile")))
}

fn changed(ctx: &Context, record: &TrustRecordView, what: &str) -> Done {
    if ctx.json {
        return out::json(record);
    }
    let name = format::name(record.name.as_deref().unwrap_or("unnamed"));
    let grants = if record.grants.is_empty() || record.revoked_at.is_some() {
        "nothing".to_owned()
    } else {
        record.grants.join(" ")
    };
    out::line(&format!(
        "{name} ({}) {what}; it may: {grants}",
        record.device_id
    ));
    Ok(())
}

fn list(ctx: &Context, records: &[TrustRecordView]) -> Done {
    if ctx.json {
        return out::json(&records);
    }
    let rows: Vec<Vec<String>> = records
        .iter()
        .map(|r| {
            vec![
                format::who(r.name.as_deref(), &r.device_id),
                standing(r).to_owned(),
                format::age(ctx.now(), r.added_at),
                if r.public_key.is_some() {
                    "pinned"
                } else {
                    "not seen yet"
                }
                .to_owned(),
                r.grants.join(" "),
            ]
        })
        .collect();
    let head = ["DEVICE", "STANDING", "ADDED", "KEY", "GRANTS"];
    out::table(
        &head,
        &rows,
        "no device is trusted; add one: clawmesh-node trust add <id>",
    );
    for r in records.iter().filter(|r| holds_admin(r)) {
        out::line(&admin_note(r));
    }
    Ok(())
}

fn standing(r: &TrustRecordView) -> &'static str {
    match (r.revoked_at, r.connected) {
        (Some(_), _) => "removed",
        (None, Some(true)) => "connected",
        (None, Some(false)) => "away",
        (None, None) => "trusted",
    }
}

fn holds_admin(r: &TrustRecordView) -> bool {
    r.revoked_at.is_none() && r.grants.iter().any(|g| g == "admin")
}

fn admin_note(r: &TrustRecordView) -> String {
    let id = format::short(&r.device_id);
    format!(
        "{} holds admin. {} Take it away: clawmesh-node trust revoke {id} admin",
        format::who(r.name.as_deref(), &r.device_id),
        worst::ADMIN_WARNING.en
    )
}

fn show(ctx: &Context, r: &TrustRecordView) -> Done {
    if ctx.json {
        return out::json(r);
    }
    out::facts(&[
        (
            "name",
            r.name.as_deref().map(format::name).unwrap_or_default(),
        ),
        ("device", r.device_id.clone()),
        (
            "key",
            r.public_key
                .clone()
                .unwrap_or_else(|| "learned when it first connects".to_owned()),
        ),
        ("standing", standing(r).to_owned()),
        ("added", format::moment(r.added_at)),
        (
            "removed",
            r.revoked_at.map(format::moment).unwrap_or_default(),
        ),
        ("may", r.grants.join(" ")),
    ]);
    let used: Vec<Vec<String>> = r.usage.iter().map(usage_row).collect();
    if !used.is_empty() {
        out::line("");
        out::table(
            &["WHAT IT MAKES THIS NODE KEEP", "USED", "OF", "REFUSED"],
            &used,
            "",
        );
    }
    if holds_admin(r) {
        out::line(&admin_note(r));
    }
    Ok(())
}

fn usage_row(share: &ShareView) -> Vec<String> {
    let amount = |n: u64| match share.kind.ends_with("bytes") {
        true => format::bytes(n),
        false => n.to_string(),
    };
    vec![
        share.kind.clone(),
        amount(share.used),
        amount(share.limit),
        share.refused.to_string(),
    ]
}

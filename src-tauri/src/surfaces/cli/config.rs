//! `config`: the file of the state directory, written, shown and changed without a node. What is written was read before as a
//! node reads it, and replaces the file as a whole.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::args::{ConfigCommand, StartArgs};
use super::context::Context;
use super::fail::{Done, Failure};
use super::{out, start};
use crate::adapters::paths::{PathError, create_private};
use crate::adapters::system;
use crate::node::config::edit;
use crate::node::config::shown::{Origin, Shown};
use crate::node::hosting;

/// The documented file.
const DOCUMENTED: &str = include_str!("../../../../config.example.toml");
/// Keys that the documented file shows with a value, as a node has none without a file.
const SHOWN_ONLY: [&str; 3] = ["name", "role", "mesh_name"];

/// `config …`
///
/// # Errors
/// If the file, a key or a value cannot be used.
pub(super) fn run(ctx: &Context, command: &ConfigCommand) -> Done {
    match command {
        ConfigCommand::Init => init(ctx),
        ConfigCommand::Path => path(ctx),
        ConfigCommand::Show(flags) => show(ctx, flags),
        ConfigCommand::Set { key, value } => set(ctx, key, value),
    }
}

fn path(ctx: &Context) -> Done {
    let file = ctx.dir.config_file();
    match ctx.json {
        true => out::json(&json!({"path": file.display().to_string(), "exists": file.exists()})),
        false => {
            out::whole(&file.display().to_string());
            Ok(())
        }
    }
}

/// The documented file with every key as a comment.
fn documented() -> String {
    let off = |line: &str| {
        let key = line.split(" = ").next().unwrap_or_default();
        match SHOWN_ONLY.contains(&key) {
            true => format!("#{line}\n"),
            false => format!("{line}\n"),
        }
    };
    DOCUMENTED.lines().map(off).collect()
}

fn init(ctx: &Context) -> Done {
    own(ctx)?;
    ctx.dir.prepare().map_err(Failure::state)?;
    let file = ctx.dir.config_file();
    create_private(&file, documented().as_bytes()).map_err(|error| match error {
        PathError::Io { source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists => {
            Failure::failed(format!(
                "{} is there already and is left as it is; change it with `clawmesh-node config set`",
                file.display()
            ))
        }
        other => Failure::state(other),
    })?;
    match ctx.json {
        true => out::json(&json!({"path": file.display().to_string(), "written": true})),
        false => {
            out::line(&format!(
                "{} has every key as a comment; switch them on there, or with `clawmesh-node config set KEY VALUE`",
                file.display()
            ));
            Ok(())
        }
    }
}

fn show(ctx: &Context, flags: &StartArgs) -> Done {
    let shown =
        hosting::shown(&ctx.dir, flags.to_raw()).map_err(|e| start::failed(&ctx.dir, &e))?;
    if ctx.json {
        return out::json(&shown);
    }
    let row = |one: &Shown| vec![one.key.clone(), written(one), told(&one.from)];
    let rows: Vec<_> = shown.iter().map(row).collect();
    out::table(&["KEY", "VALUE", "FROM"], &rows, "");
    Ok(())
}

fn written(one: &Shown) -> String {
    match &one.value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(count) if !one.key.contains('.') && is_list(&one.key) => {
            format!("{count} [[{}]]", one.key)
        }
        other => other.to_string(),
    }
}

fn is_list(key: &str) -> bool {
    crate::node::config::keys::lists().contains(&key)
}

fn told(from: &[Origin]) -> String {
    let word = |origin: &Origin| match origin {
        Origin::Flag => "flag",
        Origin::Environment => "environment",
        Origin::File => "file",
        Origin::Console => "console",
        Origin::Default => "default",
    };
    from.iter().map(word).collect::<Vec<_>>().join(", ")
}

fn set(ctx: &Context, key: &str, value: &str) -> Done {
    own(ctx)?;
    ctx.dir.prepare().map_err(Failure::state)?;
    // A link leads to the file that is meant, which stays where it is.
    let named = ctx.dir.config_file();
    let file = std::fs::canonicalize(&named).unwrap_or_else(|_| named.clone());
    let before = hosting::text(&ctx.dir).map_err(|e| start::failed(&ctx.dir, &e))?;
    let before = before.unwrap_or_default();
    let after = edit::set(&before, &named.display().to_string(), key, value);
    let after = after.map_err(|e| Failure::usage(e).and("nothing was changed"))?;
    let changed = after != before;
    if changed {
        let written = ctx.dir.write_private(&file, after.as_bytes());
        written.map_err(Failure::state)?;
    }
    let now = hosting::shown(&ctx.dir, crate::node::RawConfig::default())
        .map_err(|e| start::failed(&ctx.dir, &e))?;
    let now = now.into_iter().find(|one| one.key == key);
    let beaten = now.filter(|one| one.from.first() == Some(&Origin::Environment));
    if ctx.json {
        return out::json(&json!({
            "key": key, "path": file.display().to_string(), "changed": changed,
            "beatenByEnvironment": beaten.is_some(),
        }));
    }
    let more = match (&beaten, ctx.dir.in_use()) {
        (Some(_), _) => format!(
            "; but {} of the environment beats it",
            crate::node::config::environment::variable_of(key)
        ),
        (None, true) => "; the running node uses it from its next start on".to_owned(),
        (None, false) => String::new(),
    };
    out::line(&format!("{key} is set in {}{more}", file.display()));
    Ok(())
}

/// Refuses to write into the directory of another user, whose node could not read it then.
pub(super) fn own(ctx: &Context) -> Done {
    let root: PathBuf = ctx.dir.root().to_owned();
    let meta = std::fs::metadata(&root).ok();
    match meta.as_ref().and_then(system::foreign_owner) {
        None => Ok(()),
        Some(owner) => Err(Failure::state(format!(
            "{} belongs to another user (number {owner}): run this as that user, as in `sudo -u '#{owner}' clawmesh-node config …`; \
             nothing was written",
            root.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::node::RawConfig;

    #[test]
    fn the_documented_file_says_nothing_until_something_is_switched_on() {
        let text = documented();
        let raw = RawConfig::parse(&text, "x").unwrap();
        assert!(raw.name.is_none() && raw.role.is_none() && raw.mesh_name.is_none());
        assert!(text.parse::<toml::Table>().unwrap().is_empty());
        assert_eq!(text.lines().count(), DOCUMENTED.lines().count());
    }
}

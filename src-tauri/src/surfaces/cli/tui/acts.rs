//! What a person does here: the same requests as the commands of the same names.

use std::sync::Arc;

use super::super::context::Context;
use super::super::fail::Failure;
use super::super::record::{self, Checked};
use super::super::{decide, format, planner};
use super::wish::{Signing, Wish};
use crate::adapters::keystore::{self, Passphrase};
use crate::domain::gate::approval::Verdict;
use crate::domain::identity::OperatorKey;
use crate::operator::dto::PauseRequest;
use crate::operator::estop::EstopRequest;

/// What a wish came to.
#[derive(Debug)]
pub(super) enum Done {
    /// A record, checked here, to be shown.
    Record(Arc<Checked>),
    /// The person's key is under a passphrase.
    NeedsPassphrase(Signing),
    /// It was done.
    Good(String),
    /// It was not done, and why.
    Bad(String),
    /// A text to read, with its title.
    Text(String, Vec<String>),
}

/// Does what the person wishes.
pub(super) async fn perform(ctx: &Context, wish: Wish) -> Done {
    tried(ctx, wish)
        .await
        .unwrap_or_else(|failure| Done::Bad(failure.message))
}

async fn tried(ctx: &Context, wish: Wish) -> Result<Done, Failure> {
    match wish {
        Wish::Look(id) => Ok(Done::Record(Arc::new(record::fetch(ctx, &id).await?))),
        Wish::Sign(signing, None) => {
            ctx.operator_card()?;
            match ctx.open_operator_key()? {
                Some(key) => sign(ctx, &signing, key).await,
                None => Ok(Done::NeedsPassphrase(signing)),
            }
        }
        Wish::Sign(signing, Some(passphrase)) => {
            let key = unlocked(ctx, passphrase).await?;
            sign(ctx, &signing, key).await
        }
        Wish::Stop(id) => {
            let view = ctx.remote().await?.stop(&id).await?;
            let said = format!("{}: {}", format::short(&id), view.stopped.detail);
            Ok(match view.stopped.safe {
                true => Done::Good(format!("stopped, {said}")),
                false => Done::Bad(format!("not confirmed safe, {said}")),
            })
        }
        Wish::Estop(reason) => {
            let name = Some(ctx.person());
            let asked = EstopRequest {
                reason,
                name,
                ..Default::default()
            };
            let report = ctx.remote().await?.estop(&asked).await?;
            let count = report.executors.len();
            Ok(match report.complete {
                true => Done::Good(format!(
                    "emergency stop: all {count} executors that are known are latched and safe"
                )),
                false => Done::Text(
                    "NOT every executor confirmed that it is latched and safe; stop those by hand"
                        .to_owned(),
                    super::super::estop::lines(&report),
                ),
            })
        }
        Wish::Pause(reason) => {
            let name = Some(ctx.person());
            let view = ctx.remote().await?;
            let view = view.planner_pause(&PauseRequest { reason, name }).await?;
            Ok(Done::Good(format!("planner {}: {}", view.state, view.why)))
        }
        Wish::Resume => {
            let asked = PauseRequest {
                reason: None,
                name: Some(ctx.person()),
            };
            let view = ctx.remote().await?.planner_resume(&asked).await?;
            Ok(Done::Good(format!("planner {}: {}", view.state, view.why)))
        }
        Wish::Ask(question) => {
            let said = planner::answer(ctx, &question).await?;
            Ok(Done::Text(format!("You asked: {question}"), said))
        }
    }
}

/// Opens the key; that takes a moment of a processor on purpose.
async fn unlocked(ctx: &Context, passphrase: Passphrase) -> Result<OperatorKey, Failure> {
    let dir = ctx.dir.clone();
    let work = move || keystore::unlock_operator_key(&dir, &passphrase);
    let opened = tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Failure::failed(format!("the key could not be opened: {e}")))?;
    opened.map(|named| named.key).map_err(|e| Failure::key(&e))
}

async fn sign(ctx: &Context, signing: &Signing, key: OperatorKey) -> Result<Done, Failure> {
    let Signing {
        checked,
        verdict,
        note,
    } = signing;
    checked.fit_to_sign()?;
    let signed = decide::sign(checked, *verdict, (note.clone(), None), &key, ctx);
    let id = checked.record().proposal_id.as_str();
    let standing = ctx.remote().await?.decide(id, &signed).await?;
    let word = match verdict {
        Verdict::Approve => "approved",
        Verdict::Reject => "rejected",
    };
    let short = format::short(id);
    Ok(match standing.repeated && !standing.status.is_open() {
        true => Done::Bad(format!("{short}: {}", standing.detail)),
        false => Done::Good(format!(
            "{word} {short}; {}: {}",
            standing.status, standing.detail
        )),
    })
}

//! Native notifications: one for each proposal that waits, with Approve and Reject. Approve opens the
//! decision sheet and approves nothing; Reject acts at once. One that was decided elsewhere goes away.
//! Where nothing on the desktop shows notifications, that is said once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use notify_rust::{Notification, Timeout};
use tauri::AppHandle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Desktop;
use super::summary::{Summary, Waiting};
use super::system;
use super::tray::Chosen;
use crate::domain::base::limits::{NOTIFY_MS, TRAY_PROPOSALS_MAX};

/// Text as notification bodies take it: they read markup.
fn plain(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn shaped(p: &Waiting) -> Notification {
    let mut body = format!("{} on {}", p.level, plain(&p.place));
    if !p.reason.is_empty() {
        body.push_str(&format!("\n{}", plain(&p.reason)));
    }
    let mut shape = Notification::new();
    shape
        .appname("ClawMesh")
        .icon("clawmesh")
        .summary(&format!("Approval needed: {}", p.title))
        .body(&body)
        .action("approve", "Approve")
        .action("reject", "Reject")
        .action("default", "Review")
        .timeout(Timeout::Never);
    system::urgent(&mut shape, false);
    shape
}

/// Shows and withdraws notifications as the summary changes, until the application ends.
pub(super) async fn follow(
    app: AppHandle,
    desktop: Arc<Desktop>,
    mut summaries: watch::Receiver<Summary>,
) {
    desktop.stale.take_off().await;
    let mut shown: BTreeMap<String, CancellationToken> = BTreeMap::new();
    let mut crowd: Option<CancellationToken> = None;
    loop {
        let summary = summaries.borrow_and_update().clone();
        shown.retain(|id, gone| {
            let waits = summary.waiting.iter().any(|p| p.id == *id);
            if !waits {
                gone.cancel();
            }
            waits
        });
        let fresh: Vec<&Waiting> = summary
            .waiting
            .iter()
            .filter(|p| !shown.contains_key(&p.id))
            .collect();
        let silent = desktop.settings().silent_at(system::minute_of_day());
        for p in fresh {
            let gone = CancellationToken::new();
            // Seen, even if silent or too many: it is told once and never late.
            shown.insert(p.id.clone(), gone.clone());
            let open = shown.values().filter(|g| !g.is_cancelled()).count();
            if silent || open > TRAY_PROPOSALS_MAX {
                continue;
            }
            let work = show(app.clone(), desktop.clone(), p.clone(), gone);
            desktop.tasks.passing("notification", work);
        }
        match (
            summary.waiting.len() > TRAY_PROPOSALS_MAX && !silent,
            &crowd,
        ) {
            (true, None) => {
                let gone = CancellationToken::new();
                let work = many(app.clone(), desktop.clone(), gone.clone());
                desktop.tasks.passing("notification", work);
                crowd = Some(gone);
            }
            (false, Some(gone)) => {
                gone.cancel();
                crowd = None;
            }
            _ => {}
        }
        if summaries.changed().await.is_err() {
            return;
        }
    }
}

/// One proposal's notification, until it is used, closed, or the proposal waits no more.
async fn show(app: AppHandle, desktop: Arc<Desktop>, p: Waiting, gone: CancellationToken) {
    match asked(&desktop, shaped(&p), &gone).await.as_deref() {
        Some("approve" | "default") => desktop.chosen(&app, Chosen::Review(p.id)),
        Some("reject") => desktop.chosen(&app, Chosen::Reject(p.id, p.digest)),
        _ => {}
    }
}

/// The one that stands for all that are too many.
async fn many(app: AppHandle, desktop: Arc<Desktop>, gone: CancellationToken) {
    let mut shape = Notification::new();
    shape
        .appname("ClawMesh")
        .icon("clawmesh")
        .summary(&format!("More than {TRAY_PROPOSALS_MAX} approvals wait"))
        .body("Open the window to see them in the order of their risk.")
        .action("default", "Open")
        .timeout(Timeout::Never);
    if asked(&desktop, shape, &gone).await.is_some() {
        desktop.chosen(&app, Chosen::Open);
    }
}

/// Tells something that needs no answer; whether it is shown.
pub(super) async fn tell(desktop: &Desktop, summary: &str, body: &str) -> bool {
    said(desktop, summary, body, false).await
}

/// Shows an urgent notification; whether it is shown.
pub(super) async fn alarm(desktop: &Desktop, summary: &str, body: &str) -> bool {
    said(desktop, summary, body, true).await
}

async fn said(desktop: &Desktop, summary: &str, body: &str, urgent: bool) -> bool {
    let mut shape = Notification::new();
    shape
        .appname("ClawMesh")
        .icon("clawmesh")
        .summary(summary)
        .body(&plain(body));
    system::urgent(&mut shape, urgent);
    // A daemon that hangs is one that shows nothing.
    let limit = Duration::from_millis(NOTIFY_MS);
    let shown = tokio::time::timeout(limit, system::show(shape)).await;
    let why = match shown {
        Ok(Ok(_)) => return true,
        Ok(Err(error)) => error,
        Err(_) => "nothing answered in time".to_owned(),
    };
    desktop.no_notifications(&why);
    false
}

/// Shows a notification; the action a person used, if one was.
async fn asked(desktop: &Desktop, shape: Notification, gone: &CancellationToken) -> Option<String> {
    // The end of the application waits a moment for those that are still on the screen.
    let _on_screen = desktop.shown.token();
    let shown = match system::show(shape).await {
        Ok(shown) => shown,
        Err(error) => {
            desktop.no_notifications(&error);
            return None;
        }
    };
    let number = shown.number();
    let ending = desktop.host.ending();
    let over = async {
        tokio::select! {
            () = gone.cancelled() => {}
            () = ending.cancelled() => {}
        }
    };
    // Listened for at once, and not only when it has been written down: its buttons are on the screen already.
    let (action, ()) = tokio::join!(shown.action(over), desktop.stale.note(number, true));
    desktop.stale.note(number, false).await;
    action
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn text_from_outside_is_no_markup() {
        let p = Waiting {
            id: "p1".to_owned(),
            digest: "d".to_owned(),
            title: "open valve".to_owned(),
            place: "<b>field</b>".to_owned(),
            level: "L2".to_owned(),
            reason: "<a href='x'>dry & low</a>".to_owned(),
        };
        let shape = shaped(&p);
        assert!(!shape.body.contains('<') && shape.body.contains("&amp;"));
        assert_eq!(
            shape.actions,
            [
                "approve", "Approve", "reject", "Reject", "default", "Review"
            ]
        );
    }
}

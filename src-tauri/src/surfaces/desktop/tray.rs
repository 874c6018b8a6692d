//! The tray: the state by shape and colour, the nodes, what waits for a person, and what one wants to
//! reach without opening a window: stop, open, quit. Approving is not among it: that needs the page.

use tauri::menu::{IsMenuItem, Menu, MenuItem, PredefinedMenuItem, Submenu};
use tauri::tray::{TrayIcon, TrayIconBuilder};
use tauri::{AppHandle, Wry};
use tokio::sync::watch;

use super::icon;
use super::summary::{Mood, Summary};
use crate::domain::base::limits::TRAY_PROPOSALS_MAX;

/// A person's choice in the tray.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// Show the window.
    Open,
    /// Show one proposal.
    Review(String),
    /// Reject one proposal, as it was shown with this digest.
    Reject(String, String),
    /// Make the planner rest, or let it go on.
    Pause(bool),
    /// The emergency stop.
    Stop,
    /// Show what the last emergency stop left undone.
    Unstopped,
    /// End the application.
    Quit,
}

impl Chosen {
    fn id(&self) -> String {
        match self {
            Self::Open => "open".to_owned(),
            Self::Review(id) => format!("review {id}"),
            Self::Reject(id, digest) => format!("reject {id} {digest}"),
            Self::Pause(true) => "pause".to_owned(),
            Self::Pause(false) => "resume".to_owned(),
            Self::Stop => "stop".to_owned(),
            Self::Unstopped => "unstopped".to_owned(),
            Self::Quit => "quit".to_owned(),
        }
    }

    /// The choice behind a menu item's id.
    pub(crate) fn from_id(id: &str) -> Option<Self> {
        let mut words = id.split(' ');
        let chosen = match (words.next()?, words.next(), words.next()) {
            ("open", None, None) => Self::Open,
            ("review", Some(id), None) => Self::Review(id.to_owned()),
            ("reject", Some(id), Some(digest)) => Self::Reject(id.to_owned(), digest.to_owned()),
            ("pause", None, None) => Self::Pause(true),
            ("resume", None, None) => Self::Pause(false),
            ("stop", None, None) => Self::Stop,
            ("unstopped", None, None) => Self::Unstopped,
            ("quit", None, None) => Self::Quit,
            _ => return None,
        };
        Some(chosen)
    }
}

/// Text as a menu takes it: `&` would mark a key.
fn shown(text: &str) -> String {
    text.replace('&', "&&")
}

fn item(app: &AppHandle, chosen: &Chosen, text: &str) -> tauri::Result<MenuItem<Wry>> {
    MenuItem::with_id(app, chosen.id(), shown(text), true, None::<&str>)
}

fn line(app: &AppHandle, text: &str) -> tauri::Result<MenuItem<Wry>> {
    MenuItem::new(app, shown(text), false, None::<&str>)
}

fn menu(app: &AppHandle, summary: &Summary) -> tauri::Result<Menu<Wry>> {
    let menu = Menu::new(app)?;
    let add = |item: &dyn IsMenuItem<Wry>| menu.append(item);
    let rule = || PredefinedMenuItem::separator(app);
    let head = match summary.name.is_empty() {
        true => "ClawMesh: no node runs".to_owned(),
        false => format!("{}: {}", summary.name, summary.why),
    };
    if let Some(unstopped) = &summary.unstopped {
        add(&item(app, &Chosen::Unstopped, &format!("▲ {unstopped}"))?)?;
    }
    add(&line(app, &head)?)?;
    add(&item(app, &Chosen::Open, "Open ClawMesh")?)?;
    if !summary.waiting.is_empty() {
        add(&rule()?)?;
    }
    for p in summary.waiting.iter().take(TRAY_PROPOSALS_MAX) {
        let title = format!("▲ {} {} on {}", p.level, p.title, p.place);
        let sub = Submenu::new(app, shown(&title), true)?;
        sub.append(&item(app, &Chosen::Review(p.id.clone()), "Review…")?)?;
        let reject = Chosen::Reject(p.id.clone(), p.digest.clone());
        sub.append(&item(app, &reject, "Reject")?)?;
        add(&sub)?;
    }
    if summary.waiting.len() > TRAY_PROPOSALS_MAX {
        let more = summary.waiting.len() - TRAY_PROPOSALS_MAX;
        add(&line(app, &format!("{more} more wait in the window"))?)?;
    }
    if !summary.nodes.is_empty() {
        add(&rule()?)?;
        for node in &summary.nodes {
            add(&line(app, &format!("{} · {}", node.name, node.state))?)?;
        }
        if summary.more_nodes > 0 {
            add(&line(app, &format!("{} more nodes", summary.more_nodes))?)?;
        }
        add(&rule()?)?;
        if let Some(rests) = summary.planner_rests {
            let text = match rests {
                true => "Let the planner go on",
                false => "Pause planner",
            };
            add(&item(app, &Chosen::Pause(!rests), text)?)?;
        }
        add(&item(app, &Chosen::Stop, "Emergency stop")?)?;
    }
    add(&rule()?)?;
    add(&item(app, &Chosen::Quit, "Quit")?)?;
    Ok(menu)
}

/// Puts the icon into the tray.
///
/// # Errors
/// If this system has no tray we can use.
pub(super) fn build(
    app: &AppHandle,
    chosen: impl Fn(&AppHandle, Chosen) + Send + Sync + 'static,
) -> tauri::Result<TrayIcon> {
    let summary = Summary::default();
    TrayIconBuilder::with_id("clawmesh")
        .icon(icon::of(summary.mood))
        .tooltip("ClawMesh")
        .menu(&menu(app, &summary)?)
        .on_menu_event(move |app, event| {
            if let Some(what) = Chosen::from_id(event.id().as_ref()) {
                chosen(app, what);
            }
        })
        .build(app)
}

/// Keeps the tray as the summary is.
pub(super) async fn follow(
    app: AppHandle,
    tray: TrayIcon,
    mut summaries: watch::Receiver<Summary>,
) {
    let (mut mood, mut why) = (None, None);
    loop {
        let summary = summaries.borrow_and_update().clone();
        if mood != Some(summary.mood) {
            mood = Some(summary.mood);
            let _ = tray.set_icon(Some(icon::of(summary.mood)));
            // Beside the icon, where the panel shows text at all.
            let beside = (summary.mood == Mood::NotStopped).then_some("NOT STOPPED");
            let _ = tray.set_title(beside);
        }
        if why.as_ref() != Some(&summary.why) {
            let _ = tray.set_tooltip(Some(format!("ClawMesh: {}", summary.why)));
            why = Some(summary.why.clone());
        }
        // After the sign, which is the more urgent: a menu is read when it is opened.
        let done = menu(&app, &summary).and_then(|menu| tray.set_menu(Some(menu)));
        if let Err(error) = done {
            tracing::warn!(%error, "the tray's menu could not be changed");
        }
        if summaries.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn an_item_means_what_it_meant_when_it_was_shown() {
        for chosen in [
            Chosen::Open,
            Chosen::Review("p1".to_owned()),
            Chosen::Reject("p1".to_owned(), "ab12".to_owned()),
            Chosen::Pause(true),
            Chosen::Pause(false),
            Chosen::Stop,
            Chosen::Unstopped,
            Chosen::Quit,
        ] {
            assert_eq!(Chosen::from_id(&chosen.id()), Some(chosen));
        }
        assert_eq!(Chosen::from_id("approve p1"), None);
        assert_eq!(shown("a & b"), "a && b");
    }
}

//! Linux: presses seen by GTK, the session bus, notifications by D-Bus.

use gtk::gio;
use gtk::glib::{Propagation, Variant, VariantTy};
use gtk::prelude::{ToVariant as _, WidgetExt as _};
use notify_rust::{Notification, NotificationHandle, NotificationResponse, Urgency};
use tokio::time::Instant;

use crate::surfaces::desktop::gesture::{Code, Gestures};

/// Whether presses can be seen on this system.
pub(in crate::surfaces::desktop) const SEEN: bool = true;
/// Whether the application can be started with the session.
pub(in crate::surfaces::desktop) const STARTS_WITH_SESSION: bool = true;

/// Watches the presses of a window from now on.
pub(in crate::surfaces::desktop) fn watch(
    window: &tauri::WebviewWindow,
    gestures: &Gestures,
) -> tauri::Result<()> {
    let gestures = gestures.clone();
    window.with_webview(move |view| {
        let view = view.inner();
        let holds = |key: u32| [0x20, 0xff0d, 0xff8d].contains(&key);
        let (button_down, button_up) = (gestures.clone(), gestures.clone());
        let (key_down, key_up) = (gestures.clone(), gestures.clone());
        let left = gestures.clone();
        view.connect_focus_out_event(move |_, _| {
            left.forget();
            Propagation::Proceed
        });
        view.connect_button_press_event(move |_, event| {
            let button = event.button();
            button_down.down(Code::Button(button), button == 1, Instant::now());
            Propagation::Proceed
        });
        view.connect_button_release_event(move |_, event| {
            button_up.up(Code::Button(event.button()), Instant::now());
            Propagation::Proceed
        });
        let touch = gestures.clone();
        view.connect_touch_event(move |_, event| {
            use gtk::gdk::EventType;
            match event.event_type() {
                EventType::TouchBegin => touch.down(Code::Button(0), true, Instant::now()),
                EventType::TouchEnd | EventType::TouchCancel => {
                    touch.up(Code::Button(0), Instant::now());
                }
                _ => {}
            }
            Propagation::Proceed
        });
        view.connect_key_press_event(move |_, event| {
            let key = *event.keyval();
            key_down.down(Code::Key(key), holds(key), Instant::now());
            Propagation::Proceed
        });
        view.connect_key_release_event(move |_, event| {
            key_up.up(Code::Key(*event.keyval()), Instant::now());
            Propagation::Proceed
        });
    })
}

/// Asks the person in a window of the system, which no page reaches. Not used where presses are seen: it says no.
pub(in crate::surfaces::desktop) async fn confirmed(_question: String) -> bool {
    false
}

/// The minute of the local day.
pub(in crate::surfaces::desktop) fn minute_of_day() -> u32 {
    let now = gtk::glib::DateTime::now_local();
    now.map_or(0, |t| {
        u32::try_from(t.hour() * 60 + t.minute()).unwrap_or(0)
    })
}

/// Whether something on this desktop shows tray icons; may block.
pub(in crate::surfaces::desktop) fn has_host() -> bool {
    let Ok(bus) = gio::bus_get_sync(gio::BusType::Session, gio::Cancellable::NONE) else {
        return false;
    };
    let args = ("org.kde.StatusNotifierWatcher",).to_variant();
    let answer = bus.call_sync(
        Some("org.freedesktop.DBus"),
        "/org/freedesktop/DBus",
        "org.freedesktop.DBus",
        "NameHasOwner",
        Some(&args),
        VariantTy::new("(b)").ok(),
        gio::DBusCallFlags::NO_AUTO_START,
        500,
        gio::Cancellable::NONE,
    );
    answer.is_ok_and(|a| a.get::<(bool,)>().is_some_and(|(owned,)| owned))
}

/// How long the session bus may take for an answer, in milliseconds: asked on threads that may block.
const PATIENCE_MS: i32 = 3_000;
const NOTIFICATIONS: &str = "org.freedesktop.Notifications";

fn call(to: &str, path: &str, method: &str, args: &Variant, answer: &str) -> Option<Variant> {
    let bus = gio::bus_get_sync(gio::BusType::Session, gio::Cancellable::NONE).ok()?;
    bus.call_sync(
        Some(to),
        path,
        to,
        method,
        Some(args),
        VariantTy::new(answer).ok(),
        gio::DBusCallFlags::NO_AUTO_START,
        PATIENCE_MS,
        gio::Cancellable::NONE,
    )
    .ok()
}

/// The unique name, on the session bus, of the program that shows notifications.
pub(in crate::surfaces::desktop) fn who_shows() -> Option<String> {
    let bus = "org.freedesktop.DBus";
    let args = (NOTIFICATIONS,).to_variant();
    let owner = call(bus, "/org/freedesktop/DBus", "GetNameOwner", &args, "(s)")?;
    owner.get::<(String,)>().map(|(name,)| name)
}

/// Takes a notification off the screen.
pub(in crate::surfaces::desktop) fn close(number: u32) {
    let path = "/org/freedesktop/Notifications";
    let args = (number,).to_variant();
    let _ = call(NOTIFICATIONS, path, "CloseNotification", &args, "()");
}

/// How urgent a notification is.
pub(in crate::surfaces::desktop) fn urgent(shape: &mut Notification, urgent: bool) {
    shape.urgency(if urgent {
        Urgency::Critical
    } else {
        Urgency::Normal
    });
}

/// A notification on the screen.
pub(in crate::surfaces::desktop) struct OnScreen(NotificationHandle);

/// Shows a notification.
///
/// # Errors
/// What the desktop said.
pub(in crate::surfaces::desktop) async fn show(shape: Notification) -> Result<OnScreen, String> {
    shape
        .show_async()
        .await
        .map(OnScreen)
        .map_err(|error| error.to_string())
}

impl OnScreen {
    /// Its number at the program that shows it.
    pub(in crate::surfaces::desktop) fn number(&self) -> u32 {
        self.0.id()
    }

    /// The action that the person uses, or none where it is closed or `over` comes first, which takes it off.
    pub(in crate::surfaces::desktop) async fn action(
        self,
        over: impl Future<Output = ()>,
    ) -> Option<String> {
        let mut action = None;
        let waiting = self
            .0
            .wait_for_action_async(|response: &NotificationResponse| {
                action = match response {
                    NotificationResponse::Default => Some("default".to_owned()),
                    NotificationResponse::Action(name) => Some(name.clone()),
                    _ => None,
                };
            });
        tokio::select! {
            () = waiting => {}
            () = over => {
                self.0.close_async().await;
                return None;
            }
        }
        action
    }
}

/// Addresses that the system hands to a running application as an event.
pub(in crate::surfaces::desktop) fn addresses(_event: &tauri::RunEvent) -> Vec<String> {
    Vec::new()
}

/// Has another program take the place of this process, which lets go of everything that it holds; it does not return where
/// that works.
///
/// # Errors
/// The OS error.
pub(in crate::surfaces::desktop) fn take_over(
    program: &mut std::process::Command,
) -> std::io::Result<()> {
    use std::os::unix::process::CommandExt as _;
    Err(program.exec())
}

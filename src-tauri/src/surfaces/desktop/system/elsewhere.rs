//! Windows and macOS: no press in the window is seen, so what signs asks in a window of the system's own; notifications by
//! the system.

use notify_rust::Notification;

use crate::surfaces::desktop::gesture::Gestures;

/// Whether presses can be seen on this system.
pub(in crate::surfaces::desktop) const SEEN: bool = false;
/// Whether the application can be started with the session.
pub(in crate::surfaces::desktop) const STARTS_WITH_SESSION: bool = false;

/// Watches the presses of a window from now on: none is seen here.
pub(in crate::surfaces::desktop) fn watch(
    _window: &tauri::WebviewWindow,
    _gestures: &Gestures,
) -> tauri::Result<()> {
    Ok(())
}

/// Asks the person in a window of the system, which no page reaches; `false` unless the person says yes there.
pub(in crate::surfaces::desktop) async fn confirmed(question: String) -> bool {
    let asked = rfd::AsyncMessageDialog::new()
        .set_level(rfd::MessageLevel::Warning)
        .set_title("ClawMesh")
        .set_description(question)
        .set_buttons(rfd::MessageButtons::YesNo)
        .show()
        .await;
    asked == rfd::MessageDialogResult::Yes
}

/// The minute of the day, in UTC: the local one is not known.
pub(in crate::surfaces::desktop) fn minute_of_day() -> u32 {
    use crate::adapters::clock::Clock as _;
    let now = crate::adapters::clock::SystemClock::default().now().0;
    u32::try_from(now / 60_000 % 1_440).unwrap_or(0)
}

/// Whether something on this desktop shows tray icons: the system does.
pub(in crate::surfaces::desktop) fn has_host() -> bool {
    true
}

/// The program that shows notifications. They go with the program that asked for them, so none is left over.
pub(in crate::surfaces::desktop) fn who_shows() -> Option<String> {
    None
}

/// Takes a notification off the screen.
pub(in crate::surfaces::desktop) fn close(_number: u32) {}

/// How urgent a notification is.
pub(in crate::surfaces::desktop) fn urgent(_shape: &mut Notification, _urgent: bool) {}

/// A notification on the screen.
pub(in crate::surfaces::desktop) struct OnScreen(tokio::sync::oneshot::Receiver<String>);

/// Shows a notification.
///
/// # Errors
/// What the system said.
pub(in crate::surfaces::desktop) async fn show(shape: Notification) -> Result<OnScreen, String> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let (shown, is_shown) = tokio::sync::oneshot::channel();
    // The system answers on this thread, which waits until it takes the notification off.
    let thread = std::thread::Builder::new().name("notification".to_owned());
    let waits = move || match shape.show() {
        Ok(handle) => {
            let _ = shown.send(Ok(()));
            handle.wait_for_action(|action| {
                let _ = tell.send(action.to_owned());
            });
        }
        Err(error) => {
            let _ = shown.send(Err(error.to_string()));
        }
    };
    thread.spawn(waits).map_err(|error| error.to_string())?;
    match is_shown.await {
        Ok(Ok(())) => Ok(OnScreen(told)),
        Ok(Err(why)) => Err(why),
        Err(_) => Err("nothing showed it".to_owned()),
    }
}

impl OnScreen {
    /// Its number at the program that shows it: none is known.
    pub(in crate::surfaces::desktop) fn number(&self) -> u32 {
        0
    }

    /// The action that the person uses, or none where it is closed or `over` comes first.
    pub(in crate::surfaces::desktop) async fn action(
        self,
        over: impl Future<Output = ()>,
    ) -> Option<String> {
        let action = tokio::select! {
            action = self.0 => action.ok(),
            () = over => None,
        };
        action.filter(|action| action != "__closed")
    }
}

/// Addresses that the system hands to a running application as an event.
pub(in crate::surfaces::desktop) fn addresses(event: &tauri::RunEvent) -> Vec<String> {
    #[cfg(target_os = "macos")]
    if let tauri::RunEvent::Opened { urls } = event {
        return urls.iter().map(|url| url.as_str().to_owned()).collect();
    }
    let _ = event;
    Vec::new()
}

/// Starts a program that goes on after this process, which ends next.
///
/// # Errors
/// The OS error.
pub(in crate::surfaces::desktop) fn take_over(
    program: &mut std::process::Command,
) -> std::io::Result<()> {
    program.spawn().map(|_| ())
}

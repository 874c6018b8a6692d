//! What differs between the desktops of systems: whether a person's press in the window is seen, what shows the tray and the
//! notifications. Where no press is seen, a signature needs a yes in a window of the system's own, which shows what is
//! signed and which no page reaches.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as here;

#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(not(target_os = "linux"))]
use elsewhere as here;

pub(super) use here::{
    SEEN, STARTS_WITH_SESSION, addresses, close, confirmed, has_host, minute_of_day, show,
    take_over, urgent, watch, who_shows,
};

//! The machine: its clock, its limits, its name, where programs keep state, and core dumps.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use tokio::net::TcpStream;

use crate::adapters::files;
use crate::domain::base::limits::MARK_FILE_MAX_BYTES;

/// The environment variable by which the home of a person is known.
pub const HOME_VARIABLE: &str = "HOME";

/// Where a person's node keeps its state if nobody says otherwise.
pub fn default_state_dir(env: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    env(HOME_VARIABLE).map(|home| Path::new(&home).join(".clawmesh"))
}

/// Where the unit of `deploy/` has a node note how far it has come: also looked for by a command that does not run in the service.
const SERVICE_MARKS: &str = "/var/lib/clawmesh-marks";

/// The folders in which marks outside a state directory may lie, the best first:
/// `$XDG_STATE_HOME/clawmesh`, `~/.local/state/clawmesh`, `$STATE_DIRECTORY/marks` of a service,
/// `/var/lib/clawmesh/marks`, and the folder of the unit of `deploy/`.
pub fn mark_folders(env: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let under = |name: &str, rest: &str| env(name).map(|dir| Path::new(&dir).join(rest));
    let service = env("STATE_DIRECTORY").unwrap_or_default();
    let service = service.as_bytes().split(|byte| *byte == b':');
    let service = service.filter(|dir| !dir.is_empty()).map(OsStr::from_bytes);
    under("XDG_STATE_HOME", "clawmesh")
        .into_iter()
        .chain(under("HOME", ".local/state/clawmesh"))
        .chain(service.map(|dir| Path::new(dir).join("marks")))
        .chain(["/var/lib/clawmesh/marks", SERVICE_MARKS].map(PathBuf::from))
        .collect()
}

/// What tells this machine from others, where the system says.
pub fn machine_id() -> Option<String> {
    ["/etc/machine-id", "/var/lib/dbus/machine-id"]
        .iter()
        .find_map(|file| files::read_text(Path::new(file), MARK_FILE_MAX_BYTES).ok())
}

/// Milliseconds of a clock that nobody sets; on Linux it counts while the machine sleeps.
pub fn steady_ms() -> u64 {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let clock = ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let clock = ClockId::Monotonic;
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let ms = u64::try_from(time.tv_nsec / 1_000_000).unwrap_or_default();
    seconds.saturating_mul(1_000).saturating_add(ms)
}

/// Raises the number of files and sockets that this process may have open to `wanted`, as far as it may without asking.
pub fn limit_open_files(wanted: u64) {
    let limit = getrlimit(Resource::Nofile);
    let allowed = limit.maximum.map_or(wanted, |most| most.min(wanted));
    if limit.current.is_some_and(|current| current < allowed) {
        let raised = Rlimit {
            current: Some(allowed),
            maximum: limit.maximum,
        };
        // Without it the doorway is smaller, which is all.
        let _ = setrlimit(Resource::Nofile, raised);
    }
}

/// How many files and sockets this process may have open, where that is limited.
pub fn open_files_limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Turns core dumps of this process off, and hides its memory from other programs of the same user where the system can.
pub fn no_dumps() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // Lowering one's own limit is always allowed.
    let _ = setrlimit(Resource::Core, none);
    // A kernel that hands dumps to a program ignores the limit, but not this.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// What systemd calls the socket of the journal, if stderr were it.
pub fn journal_of_stderr() -> Option<String> {
    let it = rustix::fs::fstat(io::stderr()).ok()?;
    Some(format!("{}:{}", it.st_dev, it.st_ino))
}

/// Takes a connection for broken on which what was sent stays unacknowledged for so long, where the system can.
///
/// # Errors
/// The OS error.
pub fn unheard_at_most(stream: &TcpStream, limit: Duration) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    return socket2::SockRef::from(stream).set_tcp_user_timeout(Some(limit));
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (stream, limit);
        Ok(())
    }
}

/// Lets other programs of this machine listen on the same port, as each that hears multicast does.
///
/// # Errors
/// The OS error.
pub fn share_port(socket: &socket2::Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

//! The machine: its clock, its name, where programs keep state.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::system_program;

/// The environment variable by which the home of a person is known. Not the one that roams: a state directory is of one
/// machine.
pub const HOME_VARIABLE: &str = "LOCALAPPDATA";

/// Where a person's node keeps its state if nobody says otherwise.
pub fn default_state_dir(env: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    env(HOME_VARIABLE).map(|home| Path::new(&home).join("ClawMesh"))
}

/// The folders in which marks outside a state directory may lie, the best first: `%LOCALAPPDATA%\ClawMesh-marks` and
/// `%ProgramData%\ClawMesh\marks`.
pub fn mark_folders(env: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let under = |name: &str, rest: &str| env(name).map(|dir| Path::new(&dir).join(rest));
    under(HOME_VARIABLE, "ClawMesh-marks")
        .into_iter()
        .chain(under("ProgramData", r"ClawMesh\marks"))
        .collect()
}

/// What tells this machine from others, where the system says.
pub fn machine_id() -> Option<String> {
    let mut query = Command::new(system_program("reg.exe"));
    query.args([
        "query",
        r"HKLM\SOFTWARE\Microsoft\Cryptography",
        "/v",
        "MachineGuid",
    ]);
    let said = query.stdin(Stdio::null()).output().ok()?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    said.split_whitespace().last().map(str::to_owned)
}

/// Milliseconds of a clock that nobody sets and that counts while the machine sleeps: those of this process, on top of the
/// seconds that the machine had run when it began.
#[allow(clippy::disallowed_methods)]
pub fn steady_ms() -> u64 {
    static BEGAN: OnceLock<(Instant, u64)> = OnceLock::new();
    let (began, before) = BEGAN.get_or_init(|| {
        (
            Instant::now(),
            sysinfo::System::uptime().unwrap_or_default(),
        )
    });
    let since = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    before.saturating_mul(1_000).saturating_add(since)
}

/// Raises the number of files and sockets that this process may have open; here nothing limits it.
pub fn limit_open_files(_wanted: u64) {}

/// How many files and sockets this process may have open, where that is limited.
pub fn open_files_limit() -> Option<u64> {
    None
}

/// Turns dumps of this process off. No safe function does that here: whether the system keeps them is for its administrator
/// to say (Windows Error Reporting).
pub fn no_dumps() {}

/// What systemd calls the socket of the journal, if stderr were it.
pub fn journal_of_stderr() -> Option<String> {
    None
}

/// Takes a connection for broken on which what was sent stays unacknowledged for so long, where the system can: this one
/// gives up by itself after about twenty seconds.
///
/// # Errors
/// None.
pub fn unheard_at_most(_stream: &TcpStream, _limit: Duration) -> io::Result<()> {
    Ok(())
}

/// Lets other programs of this machine listen on the same port, as each that hears multicast does: `SO_REUSEADDR` alone
/// says so here.
///
/// # Errors
/// None.
pub fn share_port(_socket: &socket2::Socket) -> io::Result<()> {
    Ok(())
}

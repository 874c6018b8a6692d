//! Access lists, read and set by `icacls`: there is no safe function for either. Where it does not answer (it is missing, or
//! the file system has no access lists) nothing is known, and nothing is refused for it.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::system_program;
use crate::adapters::files;
use crate::adapters::system::Exposure;
use crate::adapters::system::sddl;
use crate::domain::base::limits::SMALL_FILE_MAX_BYTES;

/// The system itself, and the administrators.
const KEEPERS: [&str; 2] = ["S-1-5-18", "S-1-5-32-544"];
/// Whoever owns a file.
const OWNER_RIGHTS: &str = "S-1-3-4";

/// The security id of the user of this process, where the system says.
fn own() -> Option<&'static str> {
    static OWN: OnceLock<Option<String>> = OnceLock::new();
    let ask = || {
        let mut whoami = Command::new(system_program("whoami.exe"));
        let said = whoami
            .args(["/user", "/fo", "csv", "/nh"])
            .stdin(Stdio::null());
        let said = String::from_utf8_lossy(&said.output().ok()?.stdout).into_owned();
        let sid = said.trim().rsplit(',').next()?.trim_matches('"').to_owned();
        sid.starts_with("S-1-").then_some(sid)
    };
    OWN.get_or_init(ask).as_deref()
}

/// What others than the owner, the system and the administrators may do with a file, of what `wanted` names.
///
/// # Errors
/// If nothing can be written to hold the answer.
pub(super) fn of_others(path: &Path, wanted: u32) -> io::Result<Option<Exposure>> {
    let folder = tempfile::tempdir()?;
    let list = folder.path().join("acl");
    let mut icacls = Command::new(system_program("icacls.exe"));
    icacls.arg(path).arg("/save").arg(&list).arg("/q");
    icacls
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if !icacls.status().is_ok_and(|status| status.success()) {
        tracing::debug!(path = %path.display(), "the access list is not known");
        return Ok(None);
    }
    let Ok(bytes) = files::read(&list, SMALL_FILE_MAX_BYTES) else {
        return Ok(None);
    };
    let text = sddl::text_of(&bytes);
    let others = sddl::others(&text, wanted, own());
    Ok((!others.is_empty()).then(|| Exposure {
        how: format!("access list of {}", others.join(", ")),
        mend: format!(
            "icacls \"{}\" /inheritance:r /grant:r \"%USERNAME%:F\"",
            path.display()
        ),
    }))
}

/// Leaves a file or directory to its owner, the system and the administrators; what is made in the directory later too.
///
/// # Errors
/// What `icacls` said.
pub(super) fn take_from_others(path: &Path, folder: bool) -> io::Result<()> {
    let all = if folder { "(OI)(CI)F" } else { "F" };
    let mut icacls = Command::new(system_program("icacls.exe"));
    icacls.arg(path).arg("/inheritance:r");
    for sid in KEEPERS.into_iter().chain([own().unwrap_or(OWNER_RIGHTS)]) {
        icacls.arg("/grant:r").arg(format!("*{sid}:{all}"));
    }
    let said = icacls.arg("/q").stdin(Stdio::null()).output()?;
    match said.status.success() {
        true => Ok(()),
        false => {
            let why = String::from_utf8_lossy(&said.stderr);
            let why = format!("its access list cannot be set: {}", why.trim());
            Err(io::Error::other(why))
        }
    }
}

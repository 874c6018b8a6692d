//! Starting with the person's session: off until chosen, an entry of the XDG autostart folder that starts
//! this program in the tray. Only where such a folder is used; elsewhere it is not offered.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::system::STARTS_WITH_SESSION;
use crate::adapters::files;
use crate::adapters::paths::{StateDir, make_private_dir, write_private};

/// Largest entry that is read, in bytes.
const ENTRY_MAX_BYTES: u64 = 65_536;

/// The entry of one state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Autostart {
    file: PathBuf,
    text: String,
}

/// A word of `Exec`, as the Desktop Entry Specification quotes it; nothing for one it cannot hold.
fn quoted(word: &str) -> Option<String> {
    if word.chars().any(char::is_control) {
        return None;
    }
    let mut inner = String::new();
    for c in word.chars() {
        match c {
            // Quoted for the command line and then as a string of the file.
            '"' | '`' | '$' => inner.push_str(&format!("\\\\{c}")),
            '\\' => inner.push_str("\\\\\\\\"),
            '%' => inner.push_str("%%"),
            other => inner.push(other),
        }
    }
    Some(format!("\"{inner}\""))
}

impl Autostart {
    /// The entry for this program on a state directory, `None` where it cannot be offered. `name` tells
    /// the entries of several directories apart.
    pub(super) fn here(dir: &StateDir, name: &str) -> Option<Self> {
        if !STARTS_WITH_SESSION {
            return None;
        }
        let env = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
        let program = std::env::current_exe().ok()?;
        let usual = StateDir::resolve(None, |n| env(n).filter(|_| n == "HOME")).ok();
        let own = (usual.as_ref() != Some(dir)).then_some(dir);
        Self::of(&program, own, name, env)
    }

    fn of(
        program: &Path,
        dir: Option<&StateDir>,
        name: &str,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Option<Self> {
        let config = env("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
            .or_else(|| env("HOME").map(|home| Path::new(&home).join(".config")))?;
        let mut exec = format!("{} --hidden", quoted(program.to_str()?)?);
        if let Some(dir) = dir {
            let root = std::path::absolute(dir.root()).ok()?;
            exec.push_str(&format!(" --state-dir {}", quoted(root.to_str()?)?));
        }
        Some(Self {
            file: config.join("autostart").join(format!("{name}.desktop")),
            text: format!(
                "[Desktop Entry]\nType=Application\nName=ClawMesh\nComment=The node of this desktop, in the tray\nExec={exec}\nIcon=clawmesh\nTerminal=false\n"
            ),
        })
    }

    /// Whether it starts with the session. One that another program has hidden does not.
    pub(super) fn is_on(&self) -> bool {
        let Ok(text) = files::read_text(&self.file, ENTRY_MAX_BYTES) else {
            return false;
        };
        let off = ["Hidden=true", "X-GNOME-Autostart-enabled=false"];
        text.lines().any(|l| l.trim() == "[Desktop Entry]")
            && !text.lines().any(|l| off.contains(&l.trim()))
    }

    /// Turns it on or off.
    ///
    /// # Errors
    /// What the system said, as a sentence.
    pub(super) fn set(&self, on: bool) -> Result<(), String> {
        if on {
            if let Some(folder) = self.file.parent().filter(|f| !f.exists()) {
                make_private_dir(folder).map_err(|e| e.to_string())?;
            }
            return write_private(&self.file, self.text.as_bytes()).map_err(|e| e.to_string());
        }
        match std::fs::remove_file(&self.file) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(format!("{}: {e}", self.file.display()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn entry(home: &Path) -> Autostart {
        let home = home.display().to_string();
        let env = |name: &str| (name == "HOME").then(|| home.clone().into());
        Autostart::of(Path::new("/opt/claw mesh/clawmesh"), None, "x", env).unwrap()
    }

    #[test]
    fn it_is_off_until_it_is_turned_on_and_off_again_after() {
        let temp = tempfile::tempdir().unwrap();
        let entry = entry(temp.path());
        assert!(!entry.is_on());
        entry.set(false).unwrap();
        entry.set(true).unwrap();
        assert!(entry.is_on());
        let file = temp.path().join(".config/autostart/x.desktop");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(
            text.contains("\nExec=\"/opt/claw mesh/clawmesh\" --hidden\n"),
            "{text}"
        );
        std::fs::write(&file, format!("{text}Hidden=true\n")).unwrap();
        assert!(
            !entry.is_on(),
            "the desktop's own settings have turned it off"
        );
        entry.set(true).unwrap();
        assert!(entry.is_on());
        entry.set(false).unwrap();
        assert!(!file.exists() && !entry.is_on());
    }

    #[test]
    fn no_path_says_more_than_itself() {
        assert_eq!(quoted("/a b").unwrap(), "\"/a b\"");
        assert_eq!(quoted("/a\"$`%\\").unwrap(), r#""/a\\"\\$\\`%%\\\\""#);
        assert_eq!(quoted("/a\nExec=rm"), None);
        let env = |name: &str| (name == "XDG_CONFIG_HOME").then(|| "/cfg".into());
        let dir = StateDir::at(Path::new("/s 1"));
        let entry = Autostart::of(Path::new("/p"), Some(&dir), "n", env).unwrap();
        assert_eq!(entry.file, Path::new("/cfg/autostart/n.desktop"));
        assert!(
            entry
                .text
                .contains("Exec=\"/p\" --hidden --state-dir \"/s 1\"\n")
        );
    }
}

//! How this application was installed, and who installs what takes its place.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tauri::utils::config::BundleType;
use tauri::utils::platform::bundle_type;

use crate::adapters::files;
use crate::adapters::releases::package::Package;

/// What an AppImage has at its ninth byte.
const APPIMAGE: (usize, &[u8]) = (8, b"AI\x02");

/// Who installs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum By {
    /// This application, in its own place.
    Us,
    /// A package manager, by a command.
    Command,
    /// The system's installer, after this application has ended.
    Installer,
    /// The person, with the image that is opened.
    Image,
    /// Nobody here: it was built from the source.
    Source,
}

/// How this application was installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Installed {
    /// An AppImage: its file.
    AppImage(PathBuf),
    /// From a package of the system.
    Packed(Package),
    /// From no package.
    Source,
}

impl Installed {
    /// As this process was started.
    pub(super) fn here() -> Self {
        let program = std::env::current_exe().unwrap_or_default();
        let env = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
        if let Some(file) = appimage(&program, env) {
            return Self::AppImage(file);
        }
        match bundle_type() {
            Some(BundleType::Deb) => Self::Packed(Package::Deb),
            Some(BundleType::Rpm) => Self::Packed(Package::Rpm),
            Some(BundleType::Msi) => Self::Packed(Package::Msi),
            Some(BundleType::App | BundleType::Dmg) => Self::Packed(Package::Dmg),
            _ => Self::Source,
        }
    }

    /// Who installs what takes its place.
    pub(super) fn by(&self) -> By {
        match self {
            Self::AppImage(_) => By::Us,
            Self::Packed(Package::Msi) => By::Installer,
            Self::Packed(Package::Dmg) => By::Image,
            Self::Packed(_) => By::Command,
            Self::Source => By::Source,
        }
    }

    /// The package that takes its place. For a build from the source the one that says which version there is.
    pub(super) fn package(&self) -> Package {
        match self {
            Self::Packed(package) => *package,
            Self::AppImage(_) => Package::AppImage,
            Self::Source => match std::env::consts::OS {
                "windows" => Package::Msi,
                "macos" => Package::Dmg,
                _ => Package::Deb,
            },
        }
    }
}

/// The AppImage that this program runs from. Its runtime names it (`APPIMAGE`) and where it is mounted (`APPDIR`); a program that
/// is elsewhere only inherited them.
fn appimage(program: &Path, env: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let (file, mounted) = (env("APPIMAGE")?, env("APPDIR")?);
    let mounted = std::fs::canonicalize(mounted).ok()?;
    let program = std::fs::canonicalize(program).ok()?;
    if !program.starts_with(&mounted) {
        return None;
    }
    // A link to it stays a link.
    let file = std::fs::canonicalize(file).ok()?;
    let mut head = [0; 16];
    let mut opened = files::open(&file).ok()?;
    std::io::Read::read_exact(&mut opened, &mut head).ok()?;
    let (at, magic) = APPIMAGE;
    head.get(at..)?.starts_with(magic).then_some(file)
}

/// The command that installs a package, as a shell takes it.
pub(super) fn command(of: Package, file: &Path) -> String {
    let manager = match of {
        Package::Rpm => "dnf",
        _ => "apt",
    };
    let file = file.display().to_string().replace('\'', "'\\''");
    format!("sudo {manager} install '{file}'")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_appimage_is_the_file_that_runs_and_no_other() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        std::fs::create_dir_all(at("mounted/usr/bin")).unwrap();
        let program = at("mounted/usr/bin/clawmesh");
        std::fs::write(&program, "x").unwrap();
        std::fs::write(
            at("c.AppImage"),
            b"\x7fELF\x02\x01\x01\0AI\x02\0\0\0\0\0more",
        )
        .unwrap();
        std::fs::write(at("notes.txt"), b"something else that is long enough").unwrap();
        let found = |program: &Path, file: &str| {
            appimage(program, |name| match name {
                "APPIMAGE" => Some(at(file).into()),
                _ => Some(at("mounted").into()),
            })
        };
        let real = std::fs::canonicalize(at("c.AppImage")).unwrap();
        assert_eq!(found(&program, "c.AppImage"), Some(real));
        assert_eq!(found(&program, "notes.txt"), None);
        assert_eq!(found(&program, "gone"), None);
        assert_eq!(
            found(&at("notes.txt"), "c.AppImage"),
            None,
            "only inherited"
        );
        assert_eq!(appimage(&program, |_| None), None);
    }

    #[test]
    fn the_command_of_a_package_takes_any_path() {
        let file = Path::new("/home/Jörg O'Hara/x y.deb");
        assert_eq!(
            command(Package::Deb, file),
            "sudo apt install '/home/Jörg O'\\''Hara/x y.deb'"
        );
        assert!(command(Package::Rpm, file).starts_with("sudo dnf install '"));
    }
}

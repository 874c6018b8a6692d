//! What this machine can do: its processors, memory and graphics processors, and which of a fixed list of programs are on its
//! path. No program is started to find out. It must not know who is told.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use super::files;
use crate::domain::base::limits::PROFILE_GPUS_MAX;
use crate::domain::coordination::profile::{Gpu, GpuVendor, Profile, Skill, SkillKind};

/// Programs that are looked for, and the skills that they are.
const TOOLS: [(&str, &str); 20] = [
    ("cargo", "rust"),
    ("claude", "claude"),
    ("codex", "codex"),
    ("docker", "docker"),
    ("ffmpeg", "ffmpeg"),
    ("gcc", "c"),
    ("git", "git"),
    ("go", "go"),
    ("java", "java"),
    ("kubectl", "kubernetes"),
    ("node", "nodejs"),
    ("nvcc", "cuda"),
    ("ollama", "ollama"),
    ("openclaw", "openclaw"),
    ("podman", "podman"),
    ("python3", "python"),
    ("swift", "swift"),
    ("terraform", "terraform"),
    ("xcodebuild", "xcode"),
    ("clawmesh-node", "clawmesh"),
];
/// Bytes of a small file of the system.
const SMALL: u64 = 4_096;
const MIB: u64 = 1_048_576;

/// The machine as it is now; `path` is the list of folders with programs. It reads files, and so may wait for a disk.
pub fn of_machine(path: Option<&OsStr>) -> Profile {
    let kind = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let memory = System::new_with_specifics(kind).map_or(0, |system| system.total_memory());
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    Profile {
        os: std::env::consts::OS.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
        memory_mib: memory / MIB,
        gpus: gpus(Path::new("/")),
        skills: tools(path),
        tags: BTreeSet::new(),
    }
}

fn tools(path: Option<&OsStr>) -> Vec<Skill> {
    let suffix = std::env::consts::EXE_SUFFIX;
    let folders: Vec<_> = path
        .map(|p| std::env::split_paths(p).collect())
        .unwrap_or_default();
    let is_there = |program: &str| {
        let name = format!("{program}{suffix}");
        folders.iter().any(|folder| folder.join(&name).is_file())
    };
    let found = TOOLS.iter().filter(|(program, _)| is_there(program));
    found
        .map(|(_, skill)| Skill {
            name: (*skill).to_owned(),
            kind: SkillKind::Tool,
        })
        .collect()
}

fn text(path: &Path) -> Option<String> {
    let bytes = files::read(path, SMALL).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    Some(
        text.trim_matches(|c: char| c.is_whitespace() || c == '\0')
            .to_owned(),
    )
}

/// The graphics processors, by what Linux tells in files below `root`, and of a Mac by its processor.
fn gpus(root: &Path) -> Vec<Gpu> {
    let mut all = Vec::new();
    let mut add = |vendor: GpuVendor, name: &str| {
        all.push(Gpu {
            vendor,
            name: crate::domain::base::text::one_line(name, 64),
        });
    };
    if std::env::consts::OS == "macos" && std::env::consts::ARCH == "aarch64" {
        add(GpuVendor::Apple, "Apple GPU");
    }
    let model = text(&root.join("proc/device-tree/model")).unwrap_or_default();
    if model.contains("Jetson") {
        add(GpuVendor::Jetson, &model);
    }
    let mut cards: Vec<_> = std::fs::read_dir(root.join("sys/class/drm"))
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    cards.sort();
    for card in cards.into_iter().take(64) {
        let name = card.file_name().unwrap_or_default().to_string_lossy();
        // `card0` is a card, `card0-HDMI-A-1` a socket of it.
        if !name.starts_with("card") || name.contains('-') {
            continue;
        }
        match text(&card.join("device/vendor")).as_deref() {
            Some("0x10de") => add(GpuVendor::Nvidia, "NVIDIA GPU"),
            Some("0x1002") => add(GpuVendor::Amd, "AMD GPU"),
            Some("0x8086") => add(GpuVendor::Intel, "Intel GPU"),
            _ => {}
        }
    }
    // A driver without a card of that kind, as in many containers.
    let driver = std::fs::read_dir(root.join("proc/driver/nvidia/gpus"));
    let cards = driver.map_or(0, |entries| entries.take(PROFILE_GPUS_MAX).count());
    if !all.iter().any(|gpu| gpu.vendor == GpuVendor::Nvidia) {
        all.extend((0..cards).map(|_| Gpu {
            vendor: GpuVendor::Nvidia,
            name: "NVIDIA GPU".to_owned(),
        }));
    }
    all.truncate(PROFILE_GPUS_MAX);
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn programs_on_the_path_and_cards_of_the_machine_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let git = format!("git{}", std::env::consts::EXE_SUFFIX);
        std::fs::write(dir.path().join(git), "").unwrap();
        std::fs::create_dir(dir.path().join("docker")).unwrap();
        let names: Vec<String> = tools(Some(dir.path().as_os_str()))
            .into_iter()
            .map(|s| s.name)
            .collect();
        assert_eq!(names, ["git"]);
        assert_eq!(tools(None), []);
        for (card, vendor) in [
            ("card0", "0x10de\n"),
            ("card1", "0x1002\n"),
            ("card0-HDMI-A-1", "0x10de\n"),
        ] {
            let device = dir.path().join("sys/class/drm").join(card).join("device");
            std::fs::create_dir_all(&device).unwrap();
            std::fs::write(device.join("vendor"), vendor).unwrap();
        }
        let tree = dir.path().join("proc/device-tree");
        std::fs::create_dir_all(&tree).unwrap();
        std::fs::write(tree.join("model"), "NVIDIA Jetson Orin Nano\0").unwrap();
        let vendors: Vec<GpuVendor> = gpus(dir.path()).into_iter().map(|g| g.vendor).collect();
        let linux = [GpuVendor::Jetson, GpuVendor::Nvidia, GpuVendor::Amd];
        assert!(vendors.ends_with(&linux), "{vendors:?}");
        for card in 2..40 {
            let device = dir.path().join(format!("sys/class/drm/card{card}/device"));
            std::fs::create_dir_all(&device).unwrap();
            std::fs::write(device.join("vendor"), "0x1002").unwrap();
        }
        assert_eq!(gpus(dir.path()).len(), PROFILE_GPUS_MAX);
        let other = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(other.path().join("proc/driver/nvidia/gpus/0000:01:00.0")).unwrap();
        assert!(
            gpus(other.path())
                .iter()
                .any(|g| g.vendor == GpuVendor::Nvidia)
        );
        let own = of_machine(None).checked().unwrap();
        assert!(own.cpus > 0 && own.memory_mib > 0, "{own:?}");
    }
}

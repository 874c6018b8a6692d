//! Which file a path leads to: links, `..` and several names of one file.

use std::fs;
use std::path::{Path, PathBuf};

use crate::adapters::system::{self, FileId};

/// Entries of the node's state directory that are compared with a file of several names.
const OWN_FILES_MAX: usize = 10_000;

/// A text that is the same for all paths to one file: its number, where it is there.
pub(super) fn key(path: &Path) -> String {
    match system::file_id(path) {
        Ok(id) => format!("file {} on {}", id.number, id.volume),
        Err(_) => leads_to(path).display().to_string(),
    }
}

/// The path without links and `..`, as far as it is there.
fn leads_to(path: &Path) -> PathBuf {
    if let Ok(whole) = fs::canonicalize(path) {
        return whole;
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => leads_to(parent).join(name),
        _ => path.to_owned(),
    }
}

/// Refuses a file that lies in the node's state directory, or is one of its files under another name: its identity, trust
/// and records are nothing that an actuator writes.
///
/// # Errors
/// Why it is not written.
pub(super) fn not_own(path: &Path, node: &Path) -> Result<(), String> {
    let (node, real) = (leads_to(node), leads_to(path));
    let many = !path.is_dir() && system::names_of(path).is_ok_and(|names| names > 1);
    let is_name = many && system::file_id(path).is_ok_and(|id| holds(&node, id));
    // A path with `..` behind what is not there cannot be followed.
    let climbs = real
        .components()
        .any(|c| c == std::path::Component::ParentDir);
    match real.starts_with(&node) || is_name || climbs {
        true => Err(format!(
            "path: {} leads into the state directory of this node, {}, whose files no actuator may write",
            path.display(),
            node.display()
        )),
        false => Ok(()),
    }
}

/// Whether one of the files below a folder has this number. More files than are compared count as a yes.
fn holds(folder: &Path, id: FileId) -> bool {
    let (mut folders, mut seen) = (vec![folder.to_owned()], 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            seen += 1;
            let Ok(found) = system::entry_id(&entry) else {
                continue;
            };
            if found == id || seen > OWN_FILES_MAX {
                return true;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn all_ways_to_one_file_are_one() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("sub")).unwrap();
        fs::write(at("relay"), "0").unwrap();
        fs::write(at("other"), "0").unwrap();
        fs::hard_link(at("relay"), at("hard")).unwrap();
        symlink(at("relay"), at("soft")).unwrap();
        for name in ["hard", "soft", "sub/../relay", "./relay"] {
            assert_eq!(key(&at(name)), key(&at("relay")), "{name}");
        }
        assert_ne!(key(&at("other")), key(&at("relay")));
        assert_eq!(key(&at("sub/../new")), key(&at("new")));
    }

    #[test]
    fn the_files_of_the_node_are_never_written() {
        let dir = tempfile::tempdir().unwrap();
        let (node, out) = (dir.path().join("node"), dir.path().join("out"));
        fs::create_dir_all(node.join("sub")).unwrap();
        fs::create_dir_all(&out).unwrap();
        fs::write(node.join("identity.json"), "{}").unwrap();
        fs::write(node.join("sub/key"), "{}").unwrap();
        fs::write(out.join("relay"), "0").unwrap();
        fs::hard_link(out.join("relay"), out.join("also")).unwrap();
        fs::hard_link(node.join("sub/key"), out.join("hard")).unwrap();
        symlink(&node, out.join("folder")).unwrap();
        symlink(node.join("identity.json"), out.join("soft")).unwrap();
        let nodes = [
            node.join("identity.json"),
            node.join("not-there-yet"),
            node.join("no/such/../file"),
            out.join("../node/identity.json"),
            out.join("folder/identity.json"),
            out.join("folder/new"),
            out.join("soft"),
            out.join("hard"),
        ];
        for path in nodes {
            not_own(&path, &node).unwrap_err();
        }
        not_own(&out.join("relay"), &node).unwrap();
        not_own(&out.join("new"), &node).unwrap();
    }
}

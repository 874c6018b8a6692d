//! Completions and man pages, made from the command line's own definition.

use std::path::Path;

use clap::CommandFactory as _;

use super::args::Cli;
use super::fail::{Done, Failure};
use super::out;

const NAME: &str = "clawmesh-node";

/// `completions`.
///
/// # Errors
/// If the script is not text, which does not happen.
pub(super) fn completions(shell: clap_complete::Shell) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
    let script = String::from_utf8(script).map_err(Failure::failed)?;
    out::print(&script);
    Ok(())
}

/// `man`.
///
/// # Errors
/// If the directory cannot be written.
pub(super) fn man(dir: &Path) -> Done {
    let wrong = |e: std::io::Error| {
        Failure::failed(format!(
            "{}: {e}; name a directory you can write",
            dir.display()
        ))
    };
    std::fs::create_dir_all(dir).map_err(wrong)?;
    clap_mangen::generate_to(Cli::command(), dir).map_err(wrong)?;
    out::line(&format!("man pages are in {}", dir.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn every_command_has_a_man_page() {
        let dir = tempfile::tempdir().unwrap();
        man(dir.path()).unwrap();
        for command in Cli::command().get_subcommands() {
            let page = dir.path().join(format!("{NAME}-{}.1", command.get_name()));
            assert!(page.is_file(), "{}", page.display());
        }
    }
}

//! `tui` in a real terminal (tmux), against real nodes: read, decided, stopped, resized, killed.

use std::process::Command;

use tempfile::TempDir;

use crate::process::{Place, eventually, skipped};

/// A terminal of its own, with the program in it.
struct Terminal {
    socket: TempDir,
}

impl Terminal {
    /// Starts a shell command of a place in a terminal of this size; `None`, said loudly, without tmux.
    fn start(place: &Place, args: &str, (width, height): (u16, u16)) -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            skipped(
                "tui in a terminal",
                "tmux is not installed; as root: apt-get install tmux",
            );
            return None;
        }
        let terminal = Terminal {
            socket: tempfile::tempdir().unwrap(),
        };
        let command = place.command();
        let envs: Vec<String> = command
            .get_envs()
            .filter_map(|(name, value)| Some(format!("{}='{}'", name.to_str()?, value?.to_str()?)))
            .collect();
        let program = command.get_program().to_str().unwrap();
        let state = place.state();
        let line = format!(
            "env -i PATH=/usr/bin:/bin TERM=screen {} '{program}' --state-dir '{}' {args}; echo \"ended with $?\"; stty -a; read -r _",
            envs.join(" "),
            state.display()
        );
        let (width, height) = (width.to_string(), height.to_string());
        let size = ["-x", width.as_str(), "-y", height.as_str()];
        let made =
            terminal.tmux(&[&["new-session", "-d"], &size[..], &["sh", "-c", &line]].concat());
        assert!(made.status.success(), "{made:?}");
        Some(terminal)
    }

    fn tmux(&self, args: &[&str]) -> std::process::Output {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(self.socket.path().join("s"));
        command.args(["-f", "/dev/null"]).env("LC_ALL", "C.UTF-8");
        command.args(args).output().unwrap()
    }

    fn keys(&self, keys: &[&str]) {
        let sent = self.tmux(&[&["send-keys"], keys].concat());
        assert!(sent.status.success(), "{sent:?}");
    }

    fn screen(&self) -> String {
        let seen = self.tmux(&["capture-pane", "-p"]);
        String::from_utf8_lossy(&seen.stdout).into_owned()
    }

    /// Waits until the screen shows all of these.
    fn shows(&self, words: &[&str]) -> String {
        let mut last = String::new();
        let mut found = None;
        let look = || {
            last = self.screen();
            found = words
                .iter()
                .all(|word| last.contains(word))
                .then(|| last.clone());
            found.clone()
        };
        eventually(&format!("the terminal shows {words:?}"), look)
    }

    /// The process of the program.
    fn pid(&self, place: &Place) -> u32 {
        let state = place.state().display().to_string();
        eventually("the program runs", || {
            let all = std::fs::read_dir("/proc").unwrap().flatten();
            let mut pids = all.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
            pids.find(|pid| {
                let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let words: Vec<&[u8]> = line.split(|b| *b == 0).collect();
                words.contains(&state.as_bytes()) && words.contains(&b"tui".as_slice())
            })
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

#[test]
fn a_person_reads_approves_and_stops_in_a_terminal_of_80_by_24() {
    let place = Place::new();
    place.enrolled();
    let node = place.field(&[]);
    let id = place.propose(20);
    let Some(terminal) = Terminal::start(&place, "tui", (80, 24)) else {
        return;
    };
    let short = &id[..12];
    terminal.shows(&[
        "1 Approvals (1)",
        short,
        "waits,",
        "actuator:mock:valve-1 open",
        "L2",
    ]);
    terminal.keys(&["2"]);
    terminal.shows(&["moisture", "zone-1", "T2"]);
    terminal.keys(&["/"]);
    terminal.keys(&["-l", "tank"]);
    terminal.keys(&["Enter"]);
    let seen = terminal.shows(&["only: tank", "tank.level"]);
    assert!(!seen.contains("moisture"), "{seen}");
    terminal.keys(&["3"]);
    terminal.shows(&["field-1", "this node"]);

    // Another word signs nothing; the start of the id does.
    terminal.keys(&["1"]);
    terminal.shows(&[short]);
    terminal.keys(&["Enter"]);
    terminal.shows(&["Proposal", "moves:", "digest:"]);
    terminal.keys(&["a"]);
    terminal.shows(&["read it to its end first"]);
    terminal.keys(&["End"]);
    terminal.shows(&["status:"]);
    terminal.keys(&["a"]);
    terminal.shows(&[&format!("Type {short} to approve exactly this")]);
    terminal.keys(&["-l", "yes"]);
    terminal.keys(&["Enter"]);
    terminal.shows(&["nothing was signed"]);
    assert_eq!(place.status_of(&id), "awaiting_approval");
    terminal.keys(&["a"]);
    terminal.keys(&["-l", short]);
    terminal.keys(&["Enter"]);
    terminal.shows(&["executing"]);
    place.await_status(&id, &["executing"]);

    terminal.keys(&[":"]);
    terminal.keys(&["-l", &format!("stop {short}")]);
    terminal.keys(&["Enter"]);
    terminal.shows(&["stopped,"]);
    place.await_status(&id, &["stopped", "failed", "interrupted"]);

    // It goes on without a node, and says so; and with it again.
    let port = node.port();
    assert_eq!(node.stop(), 0);
    terminal.shows(&["NO ANSWER"]);
    let node = place.field(&["--port", &port.to_string()]);
    eventually("it has the node again", || {
        (!terminal.screen().contains("NO ANSWER")).then_some(())
    });
    terminal.keys(&["q"]);
    terminal.shows(&["ended with 0"]);
    assert_eq!(node.stop(), 0);
}

#[test]
fn the_terminal_is_given_back_however_it_ends_and_may_have_any_size() {
    let place = Place::new();
    place.enrolled();
    let node = place.field(&[]);
    let Some(terminal) = Terminal::start(&place, "tui", (100, 30)) else {
        return;
    };
    terminal.shows(&["ClawMesh", "Approvals"]);
    for (width, height, words) in [
        ("20", "5", "small: 60"),
        ("60", "12", "Approvals"),
        ("200", "50", "Approvals"),
    ] {
        let resized = terminal.tmux(&["resize-window", "-x", width, "-y", height]);
        assert!(resized.status.success(), "{resized:?}");
        terminal.shows(&[words]);
    }
    crate::process::signal_to(terminal.pid(&place), "TERM");
    // Echo and line editing are back, and the screen is the one from before.
    terminal.shows(&["ended with 0", " icanon", " echo "]);
    let again = terminal.tmux(&["respawn-pane", "-k"]);
    assert!(again.status.success(), "{again:?}");
    terminal.shows(&["ClawMesh", "Approvals"]);
    terminal.keys(&["C-c"]);
    terminal.shows(&["ended with 0", " icanon", " echo "]);
    assert_eq!(node.stop(), 0);
}

#[test]
fn without_a_terminal_or_a_node_it_says_so() {
    let place = Place::new();
    place.run(&["tui"]).fails(2, &["needs a terminal"]);
    place.run(&["tui", "--json"]).fails(2, &["prints no JSON"]);
    let Some(terminal) = Terminal::start(&place, "tui", (80, 24)) else {
        return;
    };
    terminal.shows(&["no node runs on", "ended with 4"]);
}

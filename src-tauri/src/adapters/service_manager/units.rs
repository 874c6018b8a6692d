//! The files by which a service manager runs a node. The unit of systemd is the one of `deploy/`; one for a user's own manager
//! and one with another program or directory are made of it, so that there is one source.

use std::path::Path;

/// The unit of the system's manager.
pub const UNIT: &str = include_str!("../../../../deploy/clawmesh-node.service");
/// The directory that the unit gives to the node.
pub const STATE_DIR: &str = "/var/lib/clawmesh";
/// The user that the unit runs the node as.
pub const USER: &str = "clawmesh";
/// The label of the job of launchd.
pub const LABEL: &str = "io.clawmesh.node";

/// The name of the service of Windows.
pub const WINDOWS_NAME: &str = "clawmesh-node";
/// Where Windows keeps what it knows of that service.
pub const WINDOWS_PLACE: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\clawmesh-node";
/// The account that Windows makes for a service of this name, which has rights of its own and no password.
pub const WINDOWS_ACCOUNT: &str = r"NT SERVICE\clawmesh-node";
/// Where that service keeps its state, below `%ProgramData%`.
pub const WINDOWS_STATE_DIR: &str = "ClawMesh-node";

/// What only the system's manager can do: it takes rights that a user's own has not.
const SYSTEM_ONLY: [&str; 26] = [
    "After=",
    "Wants=",
    "User=",
    "Group=",
    "StateDirectory=",
    "# How far the node",
    "Environment=CLAWMESH_MARKS_DIR=",
    "StateDirectoryMode=",
    "DevicePolicy=",
    "#DeviceAllow=",
    "#SupplementaryGroups=",
    "# Hardware:",
    "CapabilityBoundingSet=",
    "AmbientCapabilities=",
    "ProtectSystem=",
    "ProtectHome=",
    "PrivateTmp=",
    "# /sys stays",
    "ProtectKernelTunables=",
    "ProtectKernelModules=",
    "ProtectKernelLogs=",
    "ProtectControlGroups=",
    "ProtectClock=",
    "ProtectHostname=",
    "ProtectProc=",
    "RemoveIPC=",
];

/// How a node is run.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// The program.
    pub program: &'a Path,
    /// Its state directory, where one is named.
    pub state_dir: Option<&'a Path>,
    /// The user that it runs as; of the system's manager alone.
    pub user: &'a str,
}

impl Run<'_> {
    /// The state directory, that of the unit of `deploy/` where none is named.
    fn state_dir(&self) -> &Path {
        self.state_dir.unwrap_or(Path::new(STATE_DIR))
    }

    /// The unit for the system's manager.
    ///
    /// # Errors
    /// If a path or name cannot stand in a unit.
    pub fn system_unit(&self) -> Result<String, String> {
        let dir = self.state_dir();
        let start = command(self.program, Some(dir))?;
        let (user, dir) = (word(self.user)?, word(&dir.display().to_string())?);
        let line = |line: &str| match line {
            _ if line.starts_with("ExecStart=") => format!("ExecStart={start}"),
            "User=clawmesh" => format!("User={user}"),
            "Group=clawmesh" => format!("Group={user}"),
            "StateDirectory=clawmesh" if dir != STATE_DIR => format!("ReadWritePaths={dir}"),
            other => other.to_owned(),
        };
        Ok(UNIT.lines().map(|text| line(text) + "\n").collect())
    }

    /// The unit for a user's own manager: what needs the system's rights is left out.
    ///
    /// # Errors
    /// As [`Run::system_unit`].
    pub fn user_unit(&self) -> Result<String, String> {
        let start = command(self.program, self.state_dir)?;
        let left_out = |line: &&str| !SYSTEM_ONLY.iter().any(|only| line.starts_with(only));
        let line = |line: &str| match line {
            _ if line.starts_with("ExecStart=") => format!("ExecStart={start}\n"),
            "WantedBy=multi-user.target" => "WantedBy=default.target\n".to_owned(),
            other => format!("{other}\n"),
        };
        let text: String = UNIT.lines().filter(left_out).map(line).collect();
        Ok(text.replace("\n\n\n", "\n\n"))
    }

    /// The command line by which Windows starts the service.
    ///
    /// # Errors
    /// If a path cannot stand in it.
    pub fn windows_command(&self) -> Result<String, String> {
        let program = quoted(&self.program.display().to_string())?;
        let dir = quoted(&self.state_dir().display().to_string())?;
        Ok(format!("{program} start --as-service --state-dir {dir}"))
    }

    /// The job for launchd.
    ///
    /// # Errors
    /// If a path cannot stand in it.
    pub fn launchd_job(&self, log: &Path) -> Result<String, String> {
        let dir = self.state_dir.map(|dir| dir.display().to_string());
        let arguments = [self.program.display().to_string(), "start".to_owned()]
            .into_iter()
            .chain(
                dir.into_iter()
                    .flat_map(|dir| ["--state-dir".to_owned(), dir]),
            );
        let mut told = String::new();
        for argument in arguments {
            told.push_str(&format!("        <string>{}</string>\n", text(&argument)?));
        }
        let log = text(&log.display().to_string())?;
        Ok(format!(
            r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<!-- launchd job of a ClawMesh node, written by `clawmesh-node service install`. -->
<plist version="1.0">
<dict>
    <key>Label</key>
    <string>{LABEL}</string>
    <key>ProgramArguments</key>
    <array>
{told}    </array>
    <key>RunAtLoad</key>
    <true/>
    <!-- A node that ends is started again: its start makes safe what was left moving. -->
    <key>KeepAlive</key>
    <true/>
    <key>ThrottleInterval</key>
    <integer>1</integer>
    <!-- Actuators may need up to 75 s on their way to the safe state. -->
    <key>ExitTimeOut</key>
    <integer>100</integer>
    <key>ProcessType</key>
    <string>Interactive</string>
    <key>Umask</key>
    <integer>63</integer>
    <key>StandardErrorPath</key>
    <string>{log}</string>
</dict>
</plist>
"#
        ))
    }
}

fn command(program: &Path, dir: Option<&Path>) -> Result<String, String> {
    let program = word(&program.display().to_string())?;
    let dir = dir
        .map(|dir| word(&dir.display().to_string()))
        .transpose()?;
    let dir = dir.map(|dir| format!(" --state-dir {dir}"));
    Ok(format!("{program} start{}", dir.unwrap_or_default()))
}

/// A text as one word of a unit, which has rules of its own for quotes, percent and dollar signs.
fn word(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_alphanumeric() || "/._-@+:,=".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "{text:?} cannot stand in a unit: use letters, digits and /._-@+:,= alone, without spaces"
        )),
    }
}

/// A path as one word of a command line of Windows.
fn quoted(path: &str) -> Result<String, String> {
    match path.chars().any(|c| c.is_control() || c == '"') || path.ends_with('\\') {
        true => Err(format!(
            "{path:?} cannot stand in the command line of a service: it has a quote in it, or ends with one \\"
        )),
        false => Ok(format!("\"{path}\"")),
    }
}

/// A text in XML.
fn text(text: &str) -> Result<String, String> {
    match text.chars().any(char::is_control) {
        true => Err(format!("{text:?} cannot stand in a job of launchd")),
        false => Ok(text
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The program that the unit of `deploy/` runs.
    const PROGRAM: &str = "/usr/bin/clawmesh-node";

    fn run<'a>(program: &'a str, state_dir: Option<&'a str>, user: &'a str) -> Run<'a> {
        Run {
            program: Path::new(program),
            state_dir: state_dir.map(Path::new),
            user,
        }
    }

    #[test]
    fn the_usual_unit_is_the_one_of_deploy() {
        let unit = run(PROGRAM, None, USER).system_unit().unwrap();
        assert_eq!(unit, UNIT);
    }

    #[test]
    fn how_far_it_has_come_is_noted_outside_the_state_that_the_unit_gives() {
        let of = |key| -> Vec<&str> {
            let lines = UNIT.lines();
            lines.filter_map(|line| line.strip_prefix(key)).collect()
        };
        let marks = of("Environment=CLAWMESH_MARKS_DIR=")[0];
        let folders = of("StateDirectory=");
        assert_eq!(folders.len(), 2, "{folders:?}");
        assert!(
            folders
                .iter()
                .any(|folder| Path::new("/var/lib").join(folder) == Path::new(marks))
        );
        assert!(!Path::new(marks).starts_with(STATE_DIR), "{marks}");
    }

    #[test]
    fn another_program_user_and_directory_change_nothing_else() {
        let unit = run("/usr/local/bin/clawmesh-node", Some("/data/mesh"), "mesh");
        let unit = unit.system_unit().unwrap();
        let new: Vec<&str> = unit
            .lines()
            .filter(|l| !UNIT.lines().any(|u| u == *l))
            .collect();
        assert_eq!(
            new,
            [
                "ExecStart=/usr/local/bin/clawmesh-node start --state-dir /data/mesh",
                "User=mesh",
                "Group=mesh",
                "ReadWritePaths=/data/mesh",
            ]
        );
        assert!(!unit.contains("StateDirectory=clawmesh\n"));
        assert!(unit.contains("StateDirectory=clawmesh-marks\n"));
    }

    #[test]
    fn a_users_unit_asks_for_nothing_that_a_user_has_not() {
        let unit = run("/home/ada/bin/clawmesh-node", None, "")
            .user_unit()
            .unwrap();
        for without in [
            "User=",
            "StateDirectory",
            "Capabilit",
            "ProtectSystem",
            "/var/lib",
            "multi-user",
        ] {
            assert!(!unit.contains(without), "{without}: {unit}");
        }
        for with in [
            "\nExecStart=/home/ada/bin/clawmesh-node start\n",
            "\nWatchdogSec=30\n",
            "\nNoNewPrivileges=yes\n",
            "\nSystemCallFilter=@system-service\n",
            "\nWantedBy=default.target\n",
        ] {
            assert!(unit.contains(with), "{with}: {unit}");
        }
        // Each line that is left out is one that is there.
        for only in SYSTEM_ONLY {
            assert!(UNIT.lines().any(|line| line.starts_with(only)), "{only}");
        }
    }

    #[test]
    fn windows_is_told_the_program_and_the_directory_as_one_word_each() {
        let run = |program, dir| run(program, Some(dir), "").windows_command();
        assert_eq!(
            run(
                r"C:\Program Files\ClawMesh\clawmesh-node.exe",
                r"D:\Käte Müller"
            )
            .unwrap(),
            r#""C:\Program Files\ClawMesh\clawmesh-node.exe" start --as-service --state-dir "D:\Käte Müller""#
        );
        for odd in [r#"C:\a" --state-dir "b"#, r"C:\a\", "C:\\a\nb"] {
            assert!(run(odd, "x").is_err(), "{odd}");
            assert!(run("x", odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn what_would_mean_something_else_in_a_unit_or_a_job_is_refused_or_escaped() {
        for odd in [
            "/opt/a b",
            "/opt/%h",
            "/opt/$HOME",
            "/opt/a;b",
            "/opt/a\nUser=root",
            "/opt/\"a",
        ] {
            assert!(
                run(PROGRAM, Some(odd), USER).system_unit().is_err(),
                "{odd}"
            );
            assert!(run(odd, None, USER).user_unit().is_err(), "{odd}");
        }
        assert!(
            run(PROGRAM, None, "a\nExecStartPre=/bin/x")
                .system_unit()
                .is_err()
        );
        let job = run("/opt/<a>&b", Some("/opt/a b"), "").launchd_job(Path::new("/tmp/x"));
        let job = job.unwrap();
        assert!(
            job.contains("<string>/opt/&lt;a&gt;&amp;b</string>"),
            "{job}"
        );
        assert!(job.contains("<string>/opt/a b</string>"), "{job}");
        assert!(
            roxmltree::Document::parse_with_options(
                &job,
                roxmltree::ParsingOptions {
                    allow_dtd: true,
                    ..Default::default()
                }
            )
            .is_ok()
        );
        assert!(
            run("/a\nb", None, "")
                .launchd_job(Path::new("/tmp/x"))
                .is_err()
        );
    }
}

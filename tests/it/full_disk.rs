//! A disk that fills up before or in the middle of every step: it is told with a code, the actuator is
//! safe at its deadline and at a stop, nothing moves twice, and what was answered is there once there is
//! room again. Real processes on a small file system of their own, which takes root.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::process::*;
use crate::reload::other_pump;
use crate::reserve::Bed;

/// A file system of 24 MB on a state directory; gone when dropped.
struct Disk {
    at: PathBuf,
}

impl Disk {
    /// Mounts one; `None`, and says so, where that is not allowed.
    fn on(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=24m,mode=0700", "clawmesh-test"]);
        match mount.arg(at).output() {
            Ok(done) if done.status.success() => Some(Self { at: at.to_owned() }),
            other => {
                let why = match other {
                    Ok(done) => String::from_utf8_lossy(&done.stderr).trim().to_owned(),
                    Err(error) => error.to_string(),
                };
                skipped(
                    "a full disk",
                    &format!("no file system can be mounted: {why}"),
                );
                None
            }
        }
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }

    /// Uses up every byte.
    fn fill(&self) {
        let mut options = OpenOptions::new();
        let mut file = options
            .create(true)
            .append(true)
            .open(self.filler())
            .unwrap();
        for size in [1 << 20, 4_096, 1] {
            while file.write(&vec![7; size]).is_ok_and(|n| n > 0) {}
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

/// A place with a pump on a disk of its own.
fn bed(deadline_sec: u32) -> Option<(Bed, Disk)> {
    let place = Place::new();
    let disk = Disk::on(&place.state())?;
    Some((Bed::in_place(place, deadline_sec), disk))
}

fn starts(bed: &Bed) -> usize {
    bed.moves().iter().filter(|m| *m == "on").count()
}

/// Waits until the pump has been started so often.
fn started(bed: &Bed, times: usize) {
    eventually(&format!("the pump was started {times} times"), || {
        (starts(bed) == times).then_some(())
    });
}

/// Waits until a command works again.
fn works(place: &Place, args: &[&str]) -> Said {
    eventually(&format!("{args:?} works"), || {
        Some(place.run(args)).filter(|said| said.code == 0)
    })
}

fn audited(place: &Place, kind: &str) -> usize {
    let mut export = place.run(&["audit", "export"]);
    assert_eq!(export.code, 0, "{export:?}");
    export.out.retain(|c| c != ' ');
    export.out.matches(&format!("\"kind\":\"{kind}\"")).count()
}

fn refused(place: &Place, args: &[&str]) {
    let said = place.run(args);
    assert!(
        said.code == 1 && said.err.contains("STORAGE_FULL"),
        "{said:?}"
    );
}

#[test]
fn a_disk_that_is_full_before_a_step_is_told_and_costs_nothing_that_was_answered() {
    let Some((bed, disk)) = bed(600) else { return };
    let place = &bed.place;
    disk.fill();
    let said = place.run(&["start", "--port", "0"]);
    assert!(
        said.code == 5 && said.err.contains("No space left"),
        "{said:?}"
    );
    disk.free();
    let node = place.start(&[]);
    place.enrolled();
    let wish = bed.propose();
    disk.fill();
    refused(place, &["approve", &wish]);
    refused(place, &["trust", "add", &"ab".repeat(32), "--as", "viewer"]);
    let operators = place.json(&["operator", "list"]);
    refused(
        place,
        &[
            "operator",
            "revoke",
            operators[0]["operatorId"].as_str().unwrap(),
        ],
    );
    let file = place.state().join("backup");
    let told = place.typing(
        &place.state(),
        &["backup", file.to_str().unwrap()],
        "correct horse battery staple\n",
    );
    assert!(told.code != 0 && told.err.contains("full"), "{told:?}");
    assert!(!file.exists(), "nothing is left of it");
    let outside = place.beside("backup");
    let made = place.typing(
        &place.state(),
        &["backup", outside.to_str().unwrap()],
        "correct horse battery staple\n",
    );
    assert_eq!(made.code, 0, "{made:?}");
    eventually("the full disk is an alarm", || {
        let said = place.run(&["status"]);
        (said.code == 7 && said.out.contains("the store is full")).then_some(())
    });
    let stop = place.run(&["estop", "--reason", "leak"]);
    assert!(
        stop.code == 1 && stop.out.contains("not on disk yet"),
        "{stop:?}"
    );
    assert_eq!(starts(&bed), 0);
    // Once there is room the latch is on disk, and outlives the process.
    disk.free();
    eventually("the latch is written", || {
        (audited(place, "estop.engaged") == 1).then_some(())
    });
    node.kill();
    let node = place.start(&[]);
    assert!(place.run(&["estop", "status"]).out.contains("leak"));
    place.json(&["estop", "release", "--reason", "mended"]);
    // The same person decides anew: it is carried out, once.
    works(place, &["approve", &wish]);
    bed.last("on");
    assert_eq!(starts(&bed), 1);
    assert_eq!(node.stop(), 0);
    bed.last("off");
    assert_eq!(place.run(&["audit", "verify"]).code, 0);
}

#[test]
fn a_disk_that_fills_up_in_the_middle_of_a_run_ends_it_all_the_same() {
    let Some((bed, disk)) = bed(600) else { return };
    let place = &bed.place;
    let (node, stopped) = bed.on();
    disk.fill();
    let said = place.run(&["stop", &stopped]);
    assert!(
        said.code == 0 && said.out.contains("not on disk yet"),
        "{said:?}"
    );
    bed.last("off");
    assert_eq!(
        place.status_of(&stopped),
        "executing",
        "nothing else is on disk"
    );
    disk.free();
    place.await_status(&stopped, &["failed"]);
    eventually("the stop is in the audit trail", || {
        (audited(place, "action.stopped") == 1).then_some(())
    });
    // An end while the disk is full, a start on it, and one with room.
    let ended = bed.propose();
    works(place, &["approve", &ended]);
    bed.last("on");
    disk.fill();
    assert_eq!(node.stop(), 5, "how it ended is not on disk");
    assert!(
        place.log().contains("could not be stored"),
        "{}",
        place.log()
    );
    bed.last("off");
    let before = bed.moves().len();
    let said = place.run(&["start", "--port", "0"]);
    assert!(
        said.code == 5
            && ["the store is full", "No space left"]
                .iter()
                .any(|why| said.err.contains(why)),
        "{said:?}"
    );
    // Once more where the store was opened before it was found to be full.
    let moves = bed.moves().split_off(before);
    assert!(
        !moves.is_empty() && moves.iter().all(|m| m == "off"),
        "made safe before anything else: {moves:?}"
    );
    disk.free();
    let node = place.start(&[]);
    place.await_status(&ended, &["unknown"]);
    assert_eq!(starts(&bed), 2);
    assert_eq!(node.stop(), 0);
    assert_eq!(place.run(&["audit", "verify"]).code, 0);
}

#[test]
fn a_deadline_comes_on_a_full_disk_and_a_killed_process_repeats_nothing() {
    let Some((bed, disk)) = bed(1) else { return };
    let place = &bed.place;
    let (node, id) = bed.approved();
    disk.fill();
    started(&bed, 1);
    bed.last("off");
    disk.free();
    place.await_status(&id, &["completed"]);
    let cut_off = bed.propose();
    works(place, &["approve", &cut_off]);
    disk.fill();
    started(&bed, 2);
    node.kill();
    bed.last("off");
    disk.free();
    let node = place.start(&[]);
    let status = place.await_status(&cut_off, &["unknown", "completed"]);
    assert_eq!(starts(&bed), 2, "{status}: {:?}", bed.moves());
    assert_eq!(node.stop(), 0);
    assert_eq!(place.run(&["audit", "verify"]).code, 0);
}

#[test]
fn a_pairing_on_a_full_disk_trusts_nobody_at_the_side_that_cannot_keep_it() {
    let (a, b) = (Place::new(), Place::new());
    let Some(disk) = Disk::on(&b.state()) else {
        return;
    };
    let node_a = a.start(&["--mesh-name", "m"]);
    let node_b = b.start(&["--mesh-name", "m"]);
    let mut accepting = Session::start(&b, &["pair", "--accept", "--json"]);
    accepting.step("window");
    let at = format!("ws://{}", node_b.address);
    let mut asking = Session::start(&a, &["pair", "--url", &at, "--json", "--as", "field"]);
    asking.step("started");
    asking.step("compare");
    accepting.step("compare");
    disk.fill();
    asking.say("yes");
    asking.step("waiting");
    accepting.say("yes");
    accepting.step("waiting");
    let failed = accepting.step("failed");
    assert_eq!(failed["code"], "STORAGE_FULL", "{failed}");
    // The other side is told that it stands alone with it.
    let alone = asking.step("paired");
    let why = alone["message"].as_str().unwrap();
    assert!(
        alone["complete"] == false && why.contains("is full"),
        "{alone}"
    );
    assert_eq!(b.json(&["trust", "list"]), Value::Array(Vec::new()));
    disk.free();
    drop((accepting, asking, node_a, node_b));
}

#[test]
fn an_end_on_a_full_disk_does_not_forget_an_emergency_stop_without_saying_so() {
    let Some((bed, disk)) = bed(600) else { return };
    let place = &bed.place;
    let (node, _) = bed.on();
    disk.fill();
    place.run(&["estop", "--reason", "a hose has burst"]);
    bed.last("off");
    let code = node.stop();
    disk.free();
    let node = place.start(&[]);
    let said = place.run(&["estop", "status"]);
    let latched = said.out.contains("is latched for");
    assert!(latched || code == 5, "ended with {code}, and not latched");
    assert_eq!(node.stop(), 0);
}

#[test]
fn what_was_approved_ahead_of_time_does_not_move_a_device_that_came_while_the_disk_was_full() {
    let Some((bed, disk)) = bed(600) else { return };
    let place = &bed.place;
    let node = place.start(&[]);
    place.enrolled();
    let wish = bed.propose();
    let file = place.state().join("config.toml");
    let was = std::fs::read_to_string(&file).unwrap();
    let other = other_pump(&bed);
    // There is room for the file, and none for what is written about it.
    place.write("config.toml", &was);
    place.write("spare", &"x".repeat(16_384));
    disk.fill();
    std::fs::remove_file(place.state().join("spare")).unwrap();
    std::fs::write(&file, &other).unwrap();
    disk.fill();
    let said = place.run(&["device", "reload"]);
    let changed = said.code == 0;
    disk.free();
    // Whether it was taken or refused: what waited is over, or its own device is still there.
    if changed {
        place.await_status(&wish, &["superseded"]);
        let said = place.run(&["approve", &wish]);
        assert_ne!(said.code, 0, "{said:?}");
        assert!(!bed.moves().contains(&"new on".to_owned()));
    } else {
        place.json(&["approve", &wish]);
        eventually("the device that was there has moved", || {
            bed.moves().contains(&"on".to_owned()).then_some(())
        });
    }
    drop(node);
}

//! Where marks lie, what they say, who may hold the lock beside them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::*;

fn mark(dir: &StateDir, entries: u64) -> Mark {
    Mark {
        device: DeviceId::of_public_key(&[1; 32]),
        run: Some("r".into()),
        next: None,
        entries,
        head: Digest([7; 32]),
        place: place_of(dir),
        at: TimeMs(1),
        seq: None,
    }
}

#[test]
fn marks_are_read_back_never_go_backwards_and_are_not_needed() {
    let temp = tempfile::tempdir().unwrap();
    let dir = StateDir::at(&temp.path().join("state"));
    dir.prepare().unwrap();
    let places = MarkPlaces {
        inside: true,
        outside: vec![temp.path().join("marks")],
    };
    let first = mark(&dir, 3);
    let marks = Marks::new(&dir, &first.device, &places);
    assert_eq!((marks.inside(), marks.outside()), (None, None));
    assert_eq!(marks.write(&first), Ok(true));
    let inside = Some(first.clone().without_run());
    assert_eq!((marks.inside(), &inside), (inside.clone(), &inside));
    assert_eq!(marks.write_outside(&mark(&dir, 2)), Ok(true));
    assert_eq!(marks.outside(), Some(first.clone()));
    // Another process with this identity.
    assert!(marks.claim());
    let other = Marks::new(&dir, &first.device, &places);
    assert!(!other.claim());
    marks.release();
    assert!(other.claim());
    assert_eq!(
        Marks::new(&dir, &first.device, &MarkPlaces::inside()).write(&first),
        Ok(false)
    );
    // A new run is told outside alone; where none is kept there, inside.
    let next = Mark {
        next: Some("s".into()),
        ..mark(&dir, 3)
    };
    assert_eq!(other.begin(&next), Ok(true));
    assert_eq!(
        (other.inside(), other.outside()),
        (inside, Some(next.clone()))
    );
    let alone = Marks::new(&dir, &first.device, &MarkPlaces::inside());
    assert_eq!(alone.begin(&next), Ok(false));
    assert_eq!(alone.inside(), Some(next.clone()));
    // One that an earlier version wrote names a run, and would be taken for another store's.
    assert_eq!(other.begin(&next), Ok(true));
    assert_eq!(alone.inside(), Some(next.without_run()));
    // An invalid mark counts as none.
    fs::write(dir.mark_file(), "{").unwrap();
    assert_eq!(marks.inside(), None);
}

#[cfg(unix)]
#[test]
fn nobody_else_can_open_the_lock_also_where_an_earlier_version_made_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let temp = tempfile::tempdir().unwrap();
    let dir = StateDir::at(&temp.path().join("state"));
    let places = MarkPlaces {
        inside: false,
        outside: vec![temp.path().to_path_buf()],
    };
    let device = DeviceId::of_public_key(&[1; 32]);
    let lock = temp.path().join(format!("{device}.lock"));
    let mode = || fs::metadata(&lock).unwrap().permissions().mode() & 0o777;
    let marks = Marks::new(&dir, &device, &places);
    assert!(marks.claim());
    assert_eq!(mode(), 0o600);
    marks.release();
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(marks.claim());
    assert_eq!(mode(), 0o600);
}

#[test]
fn a_mark_lies_in_the_first_folder_that_can_be_written_and_stays_there() {
    let temp = tempfile::tempdir().unwrap();
    let dir = StateDir::at(&temp.path().join("state"));
    dir.prepare().unwrap();
    let first = mark(&dir, 3);
    let in_file = temp.path().join("file/marks");
    let (inner, good) = (dir.root().join("home/x"), temp.path().join("good"));
    fs::write(temp.path().join("file"), "").unwrap();
    let at = |folders: &[&PathBuf]| {
        let places = MarkPlaces {
            inside: false,
            outside: folders.iter().map(|f| (*f).clone()).collect(),
        };
        Marks::new(&dir, &first.device, &places)
    };
    let marks = at(&[&in_file]);
    let why = marks.write(&first).unwrap_err();
    assert!(why.contains(&in_file.display().to_string()), "{why}");
    assert!(marks.claim() && marks.outside().is_none() && marks.kept());
    let why = at(&[&inner]).write(&first).unwrap_err();
    assert!(why.contains("in the state directory"), "{why}");
    assert_eq!(at(&[&in_file, &inner, &good]).write(&first), Ok(true));
    assert_eq!(fs::read_dir(&good).unwrap().count(), 1, "no probe is left");
    // A better one that appears later does not hide it, nor does it move when it cannot be written.
    let better = temp.path().join("better");
    assert_eq!(at(&[&better, &good]).outside(), Some(first.clone()));
    let file = good.join(format!("{}.json", first.device));
    fs::remove_file(&file).unwrap();
    fs::create_dir_all(file.join("x")).unwrap();
    assert!(at(&[&good, &better]).write(&mark(&dir, 4)).is_err());
    assert!(!better.exists());
    // A mark that an earlier version kept within is read until there is another.
    fs::create_dir_all(&inner).unwrap();
    put(&inner.join(format!("{}.json", first.device)), &first).unwrap();
    assert_eq!(at(&[&inner, &better]).outside(), Some(first.clone()));
    assert_eq!(at(&[&inner, &better]).write(&mark(&dir, 5)), Ok(true));
    assert_eq!(at(&[&inner, &better]).outside(), Some(mark(&dir, 5)));
}

#[test]
fn the_places_of_marks_come_from_the_environment() {
    let places = |set: &[(&str, &str)]| {
        let env = |name: &str| {
            let found = set.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let outside = MarkPlaces::of_machine(env).outside;
        let shown = outside.iter().map(|p| p.display().to_string());
        shown.collect::<Vec<_>>().join(" ")
    };
    let home = ("HOME", "/h");
    let last = "/var/lib/clawmesh/marks /var/lib/clawmesh-marks";
    assert_eq!(places(&[home, (MARKS_DIR_ENV, "/m")]), "/m");
    assert_eq!(places(&[home, (MARKS_DIR_ENV, "off")]), "");
    let all = format!("/s/clawmesh /h/.local/state/clawmesh {last}");
    assert_eq!(places(&[home, ("XDG_STATE_HOME", "/s")]), all);
    let service = ("STATE_DIRECTORY", "/var/lib/a:/var/lib/b");
    assert_eq!(
        places(&[service]),
        format!("/var/lib/a/marks /var/lib/b/marks {last}")
    );
    assert_eq!(places(&[("STATE_DIRECTORY", "/var/lib/clawmesh")]), last);
}

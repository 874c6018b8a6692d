//! The rules of the devices' folder: outside it nothing names a kind of device, so that a new one is a file
//! there.

use super::rules::Fault;
use super::scan;

/// The folder, relative to `src-tauri/src`.
pub const FOLDER: &str = "adapters/devices/";

/// The drivers that a source of the folder defines: what it implements `Actuator` or `Sensor` for.
pub fn drivers_of(source: &str) -> Vec<String> {
    let tokens = scan::tokens(&scan::blank(source));
    let text = |index: usize| tokens.get(index).map_or("", |token| token.text.as_str());
    let driver = |at: usize| {
        let is_one = text(at) == "impl"
            && matches!(text(at + 1), "Actuator" | "Sensor")
            && text(at + 2) == "for";
        is_one.then(|| text(at + 3).to_owned())
    };
    (0..tokens.len()).filter_map(driver).collect()
}

/// The room that has the drivers, relative to `src-tauri/src`.
const ROOM: &str = "node/guards/";

/// Who hands drivers over to that room: what a configuration makes, also one that is read again, what a test or the simulator
/// adds, and what a refused start makes safe.
const BRINGERS: [&str; 4] = [
    "node/assemble.rs",
    "node/surroundings.rs",
    "node/refused.rs",
    "node/wiring/mod.rs",
];

/// Who may have the right to take actuators out and to put others in: the room that reads the configuration again, and what
/// hands it over.
const FITTERS: [&str; 2] = ["node/assemble.rs", "node/wiring/mod.rs"];

/// Who may have the right to begin runs: the executor, and what hands it over.
const STARTERS: [&str; 2] = ["node/assemble.rs", "node/proposals/executor.rs"];

/// Where a source of a higher tier has a driver, moves it or may begin runs, that may not.
pub fn check_holders(file: &str, source: &str) -> Vec<Fault> {
    let below = file.starts_with("domain/") || file.starts_with("adapters/");
    if below || file.starts_with(ROOM) {
        return Vec::new();
    }
    let tokens = scan::tokens(&scan::blank(source));
    let starts = tokens
        .iter()
        .filter(|token| token.text == "RunStarter" && !STARTERS.contains(&file));
    let starts = starts.map(|token| Fault {
        place: format!("{file}:{}", token.line),
        what: "begins runs, which node/proposals/ alone does: send the executor a draft".to_owned(),
    });
    let fits = tokens
        .iter()
        .filter(|token| token.text == "Fitter" && !FITTERS.contains(&file));
    let fits = fits.map(|token| Fault {
        place: format!("{file}:{}", token.line),
        what: "takes actuators out of their guards, which node/wiring/ alone does".to_owned(),
    });
    let faults = tokens.windows(3).filter_map(|three| {
        let [first, second, third] = [&three[0], &three[1], &three[2]].map(|t| t.text.as_str());
        let has = first == "SharedActuator" || (first == "dyn" && second == "Actuator");
        let moves = first == "." && matches!(second, "act" | "arm") && third == "(";
        (moves || (has && !BRINGERS.contains(&file))).then(|| Fault {
            place: format!("{file}:{}", three[0].line),
            what: format!("has a driver or moves it, which {ROOM} alone does: ask the guards"),
        })
    });
    faults.chain(starts).chain(fits).collect()
}

/// Where a source outside the folder names a driver, or looks past the folder's front page.
pub fn check(file: &str, source: &str, drivers: &[String]) -> Vec<Fault> {
    if file.starts_with(FOLDER) || file.ends_with("_tests.rs") || file.ends_with("/tests.rs") {
        return Vec::new();
    }
    let tokens = scan::tokens(&scan::blank(source));
    let named = tokens
        .iter()
        .filter(|token| drivers.contains(&token.text))
        .map(|token| (token.line, token.text.clone()));
    let paths = scan::paths(&tokens);
    let deep = paths.iter().filter_map(|path| {
        let at = path.segments.iter().position(|s| s == "devices")?;
        let rest = path.segments.get(at + 1..).unwrap_or_default();
        let is_room = rest
            .first()
            .is_some_and(|s| s.starts_with(char::is_lowercase));
        (is_room && rest.len() > 1).then(|| (path.line, path.segments.join("::")))
    });
    let fault = |(line, what): (usize, String)| Fault {
        place: format!("{file}:{line}"),
        what: format!(
            "names `{what}`: outside {FOLDER} nothing knows a kind of device; use the registry, through adapters::devices"
        ),
    };
    named.chain(deep).map(fault).collect()
}

#[test]
fn drivers_are_held_and_moved_by_the_guards_alone() {
    let faults = |file: &str, body: &str| check_holders(file, body).len();
    for body in [
        "struct S { a: Arc<dyn Actuator> }",
        "fn f(all: Vec<SharedActuator>) {}",
        "async fn f() { driver.act(act).await; }",
        "async fn f() { driver.arm(job).await; }",
    ] {
        assert_eq!(faults("operator/actuators.rs", body), 1, "{body}");
        assert_eq!(faults("node/guards/guard.rs", body), 0, "{body}");
    }
    assert_eq!(
        faults("node/assemble.rs", "fn f(all: Vec<SharedActuator>) {}"),
        0
    );
    assert_eq!(
        faults(
            "node/assemble.rs",
            "async fn f() { driver.act(act).await; }"
        ),
        1
    );
    for (file, many) in [
        ("node/proposals/executor.rs", 0),
        ("node/assemble.rs", 0),
        ("node/planning.rs", 1),
        ("operator/commands.rs", 1),
    ] {
        assert_eq!(
            faults(file, "struct S { begins: RunStarter }"),
            many,
            "{file}"
        );
    }
    for (file, many) in [("node/wiring/mod.rs", 0), ("node/planning.rs", 1)] {
        assert_eq!(faults(file, "struct S { fits: Fitter }"), many, "{file}");
    }
}

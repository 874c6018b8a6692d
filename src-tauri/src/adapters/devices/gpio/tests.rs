//! The kind on a board that is memory, and both boards by the same rules.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[cfg(all(target_os = "linux", feature = "gpio"))]
mod kernel;

use super::pins::twin::Twin;
use super::*;
use crate::adapters::clock::SystemClock;
use crate::adapters::devices::exec::tests::act;
use crate::adapters::devices::tests::{NoKeeper, Nobody, Passwords, conforms, made_with};
use crate::adapters::devices::{Carrier, DriverError, Hooks, Keeper, rescue as rescue_file};
use crate::adapters::paths::StateDir;

const VALVE: &str = "name = \"board\"\nchip = \"/dev/gpiochip0\"\n\
    [[actuator]]\ncapability = \"actuator:x:y\"\nsafe = \"close\"\nline = 27\nactive_low = true\n\
    [[actuator.operation]]\nname = \"open\"\non = true\n\
    [[actuator.operation]]\nname = \"close\"\non = false\n";

fn built(text: &str, board: &Twin) -> Result<Made, String> {
    let device: Gpio = toml::from_str(text).map_err(|e| e.message().to_owned())?;
    let clock: SharedClock = Arc::new(SystemClock::default());
    let carrier: Arc<dyn Carrier> = Arc::new(Nobody);
    let keeper: Arc<dyn Keeper> = Arc::new(NoKeeper);
    let temp = tempfile::tempdir().unwrap();
    let around = Around {
        dir: &StateDir::at(temp.path()),
        clock: &clock,
        carrier: &carrier,
        keeper: &keeper,
        hooks: &Hooks::default(),
    };
    let board: Arc<dyn Board> = Arc::new(board.clone());
    device.build(&around, &board).map_err(|e| e.to_string())
}

/// What hangs on the lines of a board.
trait World {
    /// Makes an input high or low.
    fn drive(&self, line: u32, high: bool);

    /// Whether an output is high.
    fn is_high(&self, line: u32) -> bool;
}

impl World for Twin {
    fn drive(&self, line: u32, high: bool) {
        Twin::drive(self, line, high);
    }

    fn is_high(&self, line: u32) -> bool {
        self.line(line).high
    }
}

/// The suite of all boards, of one with lines 0 to 7 that nobody has.
fn board_conforms(board: &dyn Board, world: &dyn World, chip: &Path) {
    let pin = |line: u32, active_low: bool| Pin {
        chip: chip.to_owned(),
        line,
        active_low,
        bias: None,
    };
    for (line, low) in [(0, false), (1, true)] {
        let pin = pin(line, low);
        board.look(&pin).unwrap();
        let mut relay = board.output(&pin, false).unwrap();
        assert_eq!((relay.is_on(), world.is_high(line)), (Ok(false), low));
        relay.set(true).unwrap();
        assert_eq!((relay.is_on(), world.is_high(line)), (Ok(true), !low));
        let second = board.output(&pin, true).err().unwrap();
        assert!(second.contains("has it"), "{second}");
        let second = board.input(&pin, None, 0).err().unwrap();
        assert!(second.contains("has it"), "{second}");
        assert!(board.look(&pin).unwrap_err().contains("has it"));
        assert_eq!(relay.is_on(), Ok(true), "others change nothing");
        relay.set(false).unwrap();
        drop(relay);
        board.look(&pin).unwrap();
        let taken = board.output(&pin, true).unwrap();
        assert_eq!(
            world.is_high(line),
            !low,
            "taken in the state that is asked for"
        );
        drop(taken);
    }
    let mut door = board.input(&pin(2, true), None, 0).unwrap();
    for high in [true, false, true] {
        world.drive(2, high);
        assert_eq!(door.is_on(), Ok(!high));
    }
    let counts = [
        (3, Edges::Rising, false, 23),
        (4, Edges::Falling, false, 23),
        (5, Edges::Both, false, 46),
        (6, Edges::Falling, true, 23),
    ];
    for (line, edges, low, all) in counts {
        world.drive(line, false);
        let mut meter = board.input(&pin(line, low), Some(edges), 0).unwrap();
        assert_eq!(meter.edges(), Ok(0));
        // More than a kernel keeps of them, so that the last look finds some missing.
        for pulses in [3_u64, 20] {
            for _ in 0..pulses {
                world.drive(line, true);
                world.drive(line, false);
            }
            let so_far = if pulses == 3 { all * 3 / 23 } else { all };
            assert_eq!(meter.edges(), Ok(so_far), "line {line}");
        }
    }
}

#[test]
fn the_twin_is_as_every_other_board() {
    let twin = Twin::default();
    board_conforms(&twin, &twin, Path::new("/dev/gpiochip0"));
}

fn valve(board: &Twin) -> SharedActuator {
    built(VALVE, board).unwrap().actuators.swap_remove(0)
}

#[tokio::test]
async fn an_output_is_as_every_other_actuator() {
    let board = Twin::default();
    let valve = valve(&board);
    valve.make_safe("start").await.unwrap();
    conforms(&*valve).await;
}

#[tokio::test]
async fn a_line_is_taken_in_its_safe_state_and_held() {
    let board = Twin::default();
    let valve = valve(&board);
    // Before it was made safe once, nothing is done with it.
    let error = valve.act(act(&*valve, "open", "j")).await.unwrap_err();
    assert!(matches!(error, DriverError::Failed(_)), "{error}");
    valve.arm("j").await.unwrap_err();
    assert!(!board.line(27).held);
    let free = valve.state().await.unwrap().position;
    assert_eq!(free, "free, and taken when the node starts");
    assert!(
        board.line(27).set.is_empty(),
        "nor is it taken to be looked at"
    );
    valve.make_safe("start").await.unwrap();
    // Off means high here, and it was never anything else.
    assert_eq!(board.line(27).set, [true]);
    assert!(board.line(27).held, "no other program can have it");
    valve.arm("j").await.unwrap();
    valve.act(act(&*valve, "open", "j")).await.unwrap();
    assert_eq!(valve.state().await.unwrap().position, "open");
    assert!(!board.line(27).high);
    let astray = valve.arm("k").await.unwrap_err();
    assert!(matches!(astray, DriverError::Astray(_)), "{astray}");
    valve.make_safe("j").await.unwrap();
    assert_eq!(board.line(27).set, [true, false, true]);
    drop(valve);
    assert!(!board.line(27).held, "it is free with the driver");
}

#[tokio::test]
async fn a_line_that_fails_leaves_the_outcome_unknown_and_is_taken_anew() {
    let board = Twin::default();
    let valve = valve(&board);
    valve.make_safe("start").await.unwrap();
    let fault = |why: Option<&str>| {
        board.lines().entry(27).or_default().fault = why.map(str::to_owned);
    };
    fault(Some("the chip is gone"));
    let error = valve.act(act(&*valve, "open", "j")).await.unwrap_err();
    assert!(matches!(error, DriverError::Unanswered(_)), "{error}");
    let error = valve.make_safe("j").await.unwrap_err().to_string();
    assert!(error.contains("the chip is gone"), "{error}");
    fault(None);
    board.drive(27, false);
    valve.make_safe("j").await.unwrap();
    assert!(board.line(27).high && board.line(27).held);
    // One that takes everything and does nothing is not safe.
    valve.act(act(&*valve, "open", "k")).await.unwrap();
    board.lines().entry(27).or_default().stuck = true;
    let error = valve.make_safe("k").await.unwrap_err().to_string();
    assert!(
        error.contains("it was switched off and reads on"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_when_its_line_is_gone() {
    let board = Twin::default();
    let valve = valve(&board);
    valve.make_safe("start").await.unwrap();
    valve.act(act(&*valve, "open", "j")).await.unwrap();
    let mut lost = valve.lost();
    let still = tokio::time::timeout(Duration::from_secs(10), &mut lost).await;
    still.expect_err("it is there");
    board.lines().entry(27).or_default().fault = Some("the chip is gone".to_owned());
    assert_eq!(lost.await, "the chip is gone");
}

#[test]
fn inputs_are_read_and_their_edges_counted() {
    let board = Twin::default();
    let text = "name = \"board\"\nchip = \"/dev/gpiochip0\"\n\
        [[reading]]\nmetric = \"door\"\nline = 4\nactive_low = true\nbias = \"pull-up\"\n\
        [[reading]]\nmetric = \"water\"\nunit = \"L\"\nline = 5\ncount = \"rising\"\nscale = 0.5\ndebounce_ms = 5\n";
    let mut sensors = built(text, &board).unwrap().sensors;
    let mut value = |at: usize| {
        let readings: Result<Vec<Reading>, SensorError> = sensors[at].read(TimeMs(0));
        readings.map(|readings| readings[0].value)
    };
    assert_eq!(value(0), Ok(1.0), "low is on");
    board.drive(4, true);
    assert_eq!(value(0), Ok(0.0));
    assert_eq!(value(1), Ok(0.0));
    for _ in 0..3 {
        board.drive(5, true);
        board.drive(5, false);
    }
    assert_eq!(value(1), Ok(1.5));
    // A counter goes on from where it was.
    board.lines().entry(5).or_default().fault = Some("gone".to_owned());
    value(1).unwrap_err();
    board.lines().entry(5).or_default().fault = None;
    assert_eq!(value(1), Ok(1.5));
    board.drive(5, true);
    assert_eq!(value(1), Ok(2.0));
    // Another program has a line.
    board.lines().entry(4).or_default().held = true;
    let mut other = built(text, &board).unwrap().sensors;
    let why = other[0].read(TimeMs(0)).unwrap_err().0;
    assert!(why.contains("another program has it"), "{why}");
}

#[test]
fn a_mistake_is_named_and_a_line_has_one_use() {
    let board = Twin::default();
    let problem = |text: &str| built(text, &board).map_or_else(|why| why, |_| "fine".to_owned());
    assert_eq!(problem(VALVE), "fine");
    let second = VALVE.replace("x:y", "x:z");
    let (_, second) = second.split_at(second.find("[[actuator]]").unwrap());
    for (text, why) in [
        (
            VALVE.replace("/dev/gpiochip0", "gpiochip0"),
            "chip: must be the whole path",
        ),
        (
            VALVE.replace("line = 27", "line = 2000"),
            "line: must be the number of the line, 0 to 1023",
        ),
        (
            VALVE.replace("line = 27", "line = \"GPIO27\""),
            "names are not taken",
        ),
        (
            VALVE.replace("active_low = true", ""),
            "missing field `active_low`",
        ),
        (
            VALVE.replace("safe = \"close\"", "safe = \"shut\""),
            "safe = \"shut\" must be one of its operations",
        ),
        (
            VALVE.replace("\"open\"", "\"close\""),
            "close is listed twice",
        ),
        (
            VALVE.replace("on = true", "level = 1"),
            "unknown field `level`",
        ),
        (
            format!("{VALVE}{second}"),
            "actuator actuator:x:z: line 27 is that of actuator actuator:x:y already",
        ),
        (
            "name = \"b\"\nchip = \"/dev/c\"".to_owned(),
            "neither a reading nor an actuator",
        ),
    ] {
        let told = problem(&text);
        assert!(told.contains(why), "{told}");
    }
    // Where moving it is what makes it safe.
    let table = |name: &str, more: &str| {
        format!(
            "kind = \"gpio\"\nname = \"{name}\"\nchip = \"/dev/gpiochip77\"\nactuator = [{{ capability = \"actuator:x:{name}\", \
             safe = \"close\", line = 3, active_low = false, operation = [{{ name = \"open\", on = {more} }}, {{ name = \"close\", on = false }}] }}]"
        )
    };
    let made = |tables: &[&str]| {
        let made = made_with(Arc::new(Passwords), tables);
        made.err().unwrap_or_else(|| "fine".to_owned())
    };
    assert_eq!(made(&[&table("a", "true")]), "fine");
    let same = made(&[&table("a", "false")]);
    assert!(
        same.contains("operation open and the safe operation close are the same"),
        "{same}"
    );
    let twice = made(&[&table("a", "true"), &table("b", "true")]);
    assert!(
        twice.contains("the chip /dev/gpiochip77 has a table already, gpio a"),
        "{twice}"
    );
}

#[test]
fn the_way_to_the_safe_state_is_found_in_a_damaged_file_where_it_is_certain() {
    let keeper: Arc<dyn Keeper> = Arc::new(NoKeeper);
    let ground = Ground {
        dir: Path::new("/"),
        keeper: &keeper,
    };
    let found = |file: &str| {
        let found = rescue_file(file.as_bytes(), &ground);
        let each = found
            .iter()
            .map(|a| format!("{} {}", a.capability(), a.operations().join(" ")));
        each.collect::<Vec<String>>()
    };
    let device = format!(
        "[[device]]\nkind = \"gpio\"\n{}",
        VALVE.replace("[[", "[[device.")
    );
    for file in [
        device.clone(),
        device.replace("\"gpio\"", "\"gipo\""),
        format!("port = = 1\n{device}"),
        device.replace("on = true", "no = true"),
    ] {
        assert_eq!(found(&file), ["actuator:x:y close"], "{file}");
    }
    for file in [
        device.replace("chip = ", "chpi = "),
        device.replace("line = 27", "line = -1"),
        device.replace("line = 27", "line = = 1"),
        device.replace("active_low = true", "active_low = 1"),
        device.replace("active_low = true", "active_low = = 1"),
        // Missing, it might be either.
        device.replace("active_low = true", "actve_low = = true"),
        device.replace("active_low = true", ""),
        device.replace("on = false", "no = false"),
    ] {
        assert_eq!(found(&file), [""; 0], "{file}");
    }
}

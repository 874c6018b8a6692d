//! The chips of the kernel, by its own simulated one (`gpio-sim`), where it has that; told loudly where not.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::super::chip::{Chips, Counted};
use super::{Board as _, Pin, World, board_conforms};

const SIMULATORS: &str = "/sys/kernel/config/gpio-sim";

/// A simulated chip; taken away when dropped.
struct Sim {
    config: PathBuf,
    lines: PathBuf,
    chip: PathBuf,
}

impl Sim {
    /// One with eight lines.
    fn new() -> io::Result<Self> {
        let config = Path::new(SIMULATORS).join(format!("clawmesh-{}", std::process::id()));
        fs::create_dir(&config)?;
        let mut sim = Self {
            config,
            lines: PathBuf::new(),
            chip: PathBuf::new(),
        };
        let bank = sim.config.join("bank0");
        fs::create_dir(&bank)?;
        fs::write(bank.join("num_lines"), "8")?;
        fs::write(sim.config.join("live"), "1")?;
        let read = |file: PathBuf| Ok::<_, io::Error>(fs::read_to_string(file)?.trim().to_owned());
        let device = read(sim.config.join("dev_name"))?;
        let chip = read(bank.join("chip_name"))?;
        sim.lines = Path::new("/sys/devices/platform").join(device).join(&chip);
        sim.chip = Path::new("/dev").join(chip);
        match sim.chip.exists() {
            true => Ok(sim),
            false => Err(io::Error::other("its chip is not in /dev")),
        }
    }

    fn of(&self, line: u32, what: &str) -> PathBuf {
        self.lines.join(format!("sim_gpio{line}")).join(what)
    }

    fn unplug(&self) {
        fs::write(self.config.join("live"), "0").unwrap();
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        // Those that are gone already are gone.
        let _ = fs::write(self.config.join("live"), "0");
        let _ = fs::remove_dir(self.config.join("bank0"));
        let _ = fs::remove_dir(&self.config);
    }
}

impl World for Sim {
    fn drive(&self, line: u32, high: bool) {
        let pull = if high { "pull-up" } else { "pull-down" };
        fs::write(self.of(line, "pull"), pull).unwrap();
    }

    fn is_high(&self, line: u32) -> bool {
        fs::read_to_string(self.of(line, "value")).unwrap().trim() == "1"
    }
}

fn skipped(why: &str) {
    let line = format!("SKIPPED: GPIO lines of a real kernel: {why}\n");
    eprint!("{line}");
    if let Some(file) = std::env::var_os("CLAWMESH_SKIPPED") {
        let opened = fs::OpenOptions::new().append(true).open(file);
        opened.unwrap().write_all(line.as_bytes()).unwrap();
    }
}

#[test]
fn the_kernel_is_as_every_other_board() {
    if !Path::new(SIMULATORS).is_dir() {
        return skipped(
            "this kernel has no gpio-sim, or it is not loaded; where it is a module, as root: modprobe gpio-sim",
        );
    }
    let sim = match Sim::new() {
        Ok(sim) => sim,
        Err(error) => {
            return skipped(&format!("gpio-sim gives no chip ({error}); it takes root"));
        }
    };
    board_conforms(&Chips, &sim, &sim.chip);
    let pin = |line: u32| Pin {
        chip: sim.chip.clone(),
        line,
        active_low: false,
        bias: None,
    };
    let why = Chips.output(&pin(8), false).err().unwrap();
    assert!(why.contains("there is none, the chip has 0 to 7"), "{why}");
    let mut held = Chips.output(&pin(0), true).unwrap();
    sim.unplug();
    held.set(false).unwrap_err();
    held.is_on().unwrap_err();
    drop(held);
    let why = Chips.output(&pin(0), false).err().unwrap();
    assert!(why.contains("there is no /dev/gpiochip"), "{why}");
}

#[test]
fn what_is_no_chip_is_named_with_what_to_do() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("gpiochip0");
    fs::write(&file, "").unwrap();
    let pin = |chip: &Path| Pin {
        chip: chip.to_owned(),
        line: 1,
        active_low: true,
        bias: None,
    };
    for (chip, why) in [
        (
            Path::new("/dev/gpiochip-none"),
            "there is no /dev/gpiochip-none: `gpiodetect`",
        ),
        (Path::new("/dev/null"), "/dev/null\" is not a GPIO"),
        (Path::new("/"), "is not a"),
        (&*file, "is not a"),
    ] {
        for told in [
            Chips.output(&pin(chip), false).err().unwrap(),
            Chips.input(&pin(chip), None, 0).err().unwrap(),
            Chips.look(&pin(chip)).unwrap_err(),
        ] {
            assert!(told.contains(why), "{told}");
        }
    }
}

#[test]
fn edges_are_counted_by_the_numbers_that_the_kernel_gives() {
    let mut counted = Counted::default();
    let mut all = |number: u32| {
        counted.edge(number);
        counted.all()
    };
    assert_eq!([all(1), all(2), all(9)], [1, 2, 9], "seven had no room");
    // Past the end of the numbers, and one that goes back.
    let mut counted = Counted::default();
    counted.edge(u32::MAX / 2);
    counted.edge(u32::MAX - 1);
    counted.edge(2);
    assert_eq!(counted.all(), u64::from(u32::MAX) + 3);
    counted.edge(1);
    assert_eq!(counted.all(), u64::from(u32::MAX) + 4);
}

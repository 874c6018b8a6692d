//! Tests of what is made safe where a configuration is refused.

use super::super::exec::certain;
use super::super::tests::NoKeeper;
use super::*;

fn safe_commands(file: impl AsRef<[u8]>) -> Vec<String> {
    let read = tables(&text(file.as_ref())).into_iter();
    read.map(|(_, table)| certain(&table)).collect()
}

fn actuator(name: &str) -> String {
    format!(
        "[[actuator]] # one\ncapability = \"actuator:{name}\"\nsafe = \"stop\"\n\
         [[actuator.operation]]\nname = \"start\"\nargv = [\"/bin/{name}\", \"on\"]\n\
         [[actuator.operation]]\nname = \"stop\"\nargv = [\"/bin/{name}\", \"off\"]\n"
    )
}

#[test]
fn a_fault_elsewhere_in_the_file_hides_no_safe_command() {
    let (a, b) = (actuator("a"), actuator("b"));
    let both = ["actuator:a /bin/a off", "actuator:b /bin/b off"];
    for fault in [
        "nmae = 1\n",
        "port = \"x\"\n",
        "port = = 1\n",
        "[store\n",
        "[[rule]]\n",
    ] {
        let text = format!("{fault}{a}[[rule]]\nname = 3\n{b}");
        assert_eq!(safe_commands(&text), both, "{text}");
        let text = format!("{a}{b}[store]\n{fault}");
        assert_eq!(safe_commands(&text), both, "{text}");
    }
    // The newer spelling, and a kind that is misspelled.
    for kind in ["exec", "exce"] {
        let device = a.replace("[[actuator", "[[device");
        let device = device.replace("safe =", &format!("kind = \"{kind}\"\nsafe ="));
        for text in [format!("{device}{b}"), format!("port = = 1\n{device}{b}")] {
            let mut found = safe_commands(&text);
            found.sort_unstable();
            assert_eq!(found, both, "{text}");
        }
    }
    // A wrong key or operation beside it.
    let odd = a
        .replace("safe =", "saef = 1\nsafe =")
        .replace("\"on\"", "1");
    assert_eq!(safe_commands(&odd), both[..1]);
}

#[test]
fn no_command_is_taken_for_a_safe_one_that_may_not_be() {
    let (a, b) = (actuator("a"), actuator("b").replace("stop", "start"));
    // The heading of b is broken: a keeps its own words, b has none.
    for heading in ["[[actuator\n", "[actuator]]\n", "[[actuatr]]\n"] {
        let text = format!("{a}{}", b.replace("[[actuator]] # one\n", heading));
        let all = safe_commands(&text);
        assert!(
            all.iter().all(|c| c == "actuator:a /bin/a off"),
            "{text}: {all:?}"
        );
    }
    let twice = format!("{a}[[actuator.operation]]\nname = \"stop\"\nargv = [\"/bin/x\"]\n");
    assert_eq!(
        safe_commands(&twice),
        ["there is not one operation \"stop\""]
    );
    let gone = a.replace("name = \"stop\"", "name = \"halt\"");
    assert_eq!(
        safe_commands(&gone),
        ["there is not one operation \"stop\""]
    );
    let merged = format!("{a}{}", b.replace("[[actuator]] # one\n", "actuator]]\n"));
    assert_eq!(safe_commands(&merged), [""; 0]);
}

/// The actuators made safe, by name, from a file with this actuator in it.
fn found(file: impl AsRef<[u8]>) -> Vec<String> {
    let keeper: Arc<dyn Keeper> = Arc::new(NoKeeper);
    let ground = Ground {
        dir: Path::new("/"),
        keeper: &keeper,
    };
    let found = rescue(file.as_ref(), &ground);
    found.iter().map(|a| a.capability().to_string()).collect()
}

fn pump() -> String {
    actuator("pump").replace("/bin/pump", "/bin/sh")
}

#[test]
fn whatever_a_table_is_called_or_written_like_its_safe_command_is_found() {
    let good = pump();
    let inline = "device = [\n  { capability = \"actuator:pump\", safe = \"stop\", operation = [\n    \
                  { name = \"stop\", argv = [\"/bin/sh\", \"off\"] }] }, # one\n]\n";
    let with = |more: &str| good.replace("safe =", &format!("{more}\nsafe ="));
    let mut files = vec![
        good.replace("[[actuator]]", "[[\"actuator\"]]"),
        good.replace("[[actuator]]", "[ actuator ]"),
        inline.to_owned(),
        inline.replace("device =", "\"device\"="),
        good.replace('\n', "\r"),
        good.replace('\n', "\r\n"),
        with("timeout_sec = 99999999999999999999"),
        with("timeout_sec = \"10"),
        with("nmae = = 1"),
        format!("{good}# \u{1}\n"),
        format!("{good}\0\0"),
    ];
    for kind in ["exec", "exce", "host", "sim", "gen1"] {
        files.push(with(&format!("kind = \"{kind}\"")));
    }
    files.push(with("kind = 3"));
    for file in files {
        let end = if file.contains("\r") && !file.contains('\n') {
            "\r"
        } else {
            "\n"
        };
        assert_eq!(found(&file), ["actuator:pump"], "{file:?}");
        let broken = format!("port = = 1{end}{file}");
        assert_eq!(found(&broken), ["actuator:pump"], "{broken:?}");
    }
    let mut latin1 = good.clone().into_bytes();
    latin1.extend(b"# f\xfcr\n");
    assert_eq!(found(&latin1), ["actuator:pump"]);
    let wide = |bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        let text = format!("\u{feff}{good}");
        text.encode_utf16().flat_map(bytes).collect()
    };
    assert_eq!(found(wide(u16::to_le_bytes)), ["actuator:pump"]);
    assert_eq!(found(wide(u16::to_be_bytes)), ["actuator:pump"]);
    // Kinds that move nothing here, as they are.
    for kind in ["host", "sim"] {
        assert_eq!(found(format!("[[device]]\nkind = \"{kind}\"\n")), [""; 0]);
    }
}

#[test]
fn a_command_that_is_not_certain_is_none() {
    let good = pump();
    let mut odd = good.replace("\"off\"", "\"off?\"").into_bytes();
    for byte in odd.iter_mut().filter(|byte| **byte == b'?') {
        *byte = 0xfc;
    }
    assert_eq!(found(&odd), [""; 0], "a byte of the command is no text");
    odd.iter_mut()
        .filter(|byte| **byte == 0xfc)
        .for_each(|byte| *byte = 0);
    assert_eq!(found(&odd), [""; 0]);
    // A line that looks wrong and belongs to a command.
    let script = good.replace("\"off\"", "\"\"\"\nx = = 1\n\"\"\"");
    let broken = script.replace("safe =", "timeout_sec = = 1\nsafe =");
    assert_eq!(found(&script), ["actuator:pump"]);
    assert_eq!(found(&broken), [""; 0]);
    let below = "port = = 1\n[other]\ndevice = [{ capability = \"actuator:pump\", safe = \"stop\", operation = \
                 [{ name = \"stop\", argv = [\"/bin/sh\"] }] }]\n";
    assert_eq!(found(below), [""; 0], "a key of another table");
}

#[test]
fn a_table_of_which_a_line_that_is_needed_does_not_read_gives_no_way() {
    let with = |line: &str| pump().replace("safe =", &format!("{line}\nsafe ="));
    for key in NEEDED {
        for line in [
            format!("{key} = = 1"),
            format!("{key} = x"),
            format!("\"{key}\" = \"1"),
            format!("{key}.more = x"),
            format!("more.{key} = x"),
        ] {
            assert_eq!(found(with(&line)), [""; 0], "{line}");
        }
        // In a reading it says nothing of the way.
        let reading = format!("[[actuator.reading]]\n{key} = x\n[[actuator.op");
        let file = pump().replacen("[[actuator.op", &reading, 1);
        assert_eq!(found(&file), ["actuator:pump"], "{file}");
    }
    // A key that does not read may be any.
    for line in ["ty\u{fffd}pe = 1", "type\" = 1", "ty pe = 1"] {
        assert_eq!(found(with(line)), [""; 0], "{line}");
    }
    for place in WHOLE {
        let inner = format!("[actuator.{place}]\nmore = x\n[[actuator.op");
        let file = pump().replacen("[[actuator.op", &inner, 1);
        assert_eq!(found(&file), [""; 0], "{file}");
    }
    // A command of several lines is whole or none.
    let long = pump().replace("[\"/bin/sh\", \"off\"]", "[\n\"/bin/sh\",\n\"a=b\",\n]");
    let long = long.replace("safe =", "timeout_sec = x\nsafe =") + "mode = x\n";
    assert_eq!(safe_commands(&long), ["actuator:pump /bin/sh a=b"]);
    let open = long.replace("\"a=b\"", "\"a=b");
    assert_eq!(safe_commands(&open), [""; 0]);
}

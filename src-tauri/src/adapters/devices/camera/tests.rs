//! Pictures of a command and of a file, and bytes that are none.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Cursor;
use std::sync::Arc;

use base64::Engine as _;
use image::{DynamicImage, ImageFormat, RgbImage};
use proptest::prelude::*;
use serde_json::Value;

use super::look::look;
use super::*;
use crate::adapters::clock::ManualClock;
use crate::adapters::devices::tests::{NoKeeper, Nobody};
use crate::adapters::devices::{Carrier, Hooks, Keeper};
use crate::adapters::paths::StateDir;
use crate::adapters::pictures::Format;
use crate::domain::base::limits::THUMBNAIL_MAX_BYTES;

fn byte(n: u32) -> u8 {
    n.to_be_bytes()[3]
}

/// A picture of this size with a little of everything in it; `noise` is the worst for a small thumbnail.
fn drawn(width: u32, height: u32, noise: bool) -> RgbImage {
    let mut state = 7_u32;
    RgbImage::from_fn(width, height, |x, y| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [a, b, c, _] = state.to_be_bytes();
        match noise {
            true => image::Rgb([a, b, c]),
            false => image::Rgb([byte(x), byte(y), 90]),
        }
    })
}

fn written(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn jpeg(width: u32, height: u32) -> Vec<u8> {
    written(drawn(width, height, false), ImageFormat::Jpeg)
}

struct Lab {
    temp: tempfile::TempDir,
    clock: Arc<ManualClock>,
}

impl Lab {
    fn new() -> Self {
        Self {
            temp: tempfile::tempdir().unwrap(),
            clock: Arc::new(ManualClock::at(TimeMs(0))),
        }
    }

    fn file(&self, bytes: &[u8]) -> String {
        let file = self.temp.path().join("taken");
        std::fs::write(&file, bytes).unwrap();
        file.display().to_string()
    }

    fn camera(&self, keys: &str) -> Result<Box<dyn Sensor>, String> {
        let text = format!("name = \"gate\"\nzone = \"yard\"\n{keys}");
        let device: Camera = toml::from_str(&text).map_err(|e| e.message().to_owned())?;
        let clock: SharedClock = self.clock.clone();
        let carrier: Arc<dyn Carrier> = Arc::new(Nobody);
        let keeper: Arc<dyn Keeper> = Arc::new(NoKeeper);
        let around = Around {
            dir: &StateDir::at(&self.temp.path().join("state")),
            clock: &clock,
            carrier: &carrier,
            keeper: &keeper,
            hooks: &Hooks::default(),
        };
        let made = device.make(&around).map_err(|e| e.to_string())?;
        Ok(made.sensors.into_iter().next().unwrap())
    }

    fn pictures(&self) -> Pictures {
        Pictures::of(&StateDir::at(&self.temp.path().join("state")))
    }
}

/// What it says, on a thread that may block.
async fn read(sensor: Box<dyn Sensor>, at: u64) -> (Box<dyn Sensor>, Result<Vec<Reading>, String>) {
    let look = move || {
        let mut sensor = sensor;
        let read = sensor.read(TimeMs(at)).map_err(|e| e.0);
        (sensor, read)
    };
    tokio::task::spawn_blocking(look).await.unwrap()
}

fn thumbnail(told: &str) -> DynamicImage {
    assert!(told.len() <= THUMBNAIL_MAX_BYTES, "{}", told.len());
    let text = told.strip_prefix("data:image/jpeg;base64,").unwrap();
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text)
        .unwrap();
    image::load_from_memory_with_format(&bytes, ImageFormat::Jpeg).unwrap()
}

#[tokio::test]
async fn a_picture_is_kept_here_and_its_hash_size_and_thumbnail_are_told() {
    let lab = Lab::new();
    let bytes = jpeg(640, 400);
    let argv = format!("argv = [\"/bin/cat\", \"{}\"]", lab.file(&bytes));
    let camera = lab.camera(&argv).unwrap();
    assert_eq!(camera.name(), "gate picture yard");
    assert_eq!(camera.interval(), Some(Duration::from_secs(60)));
    let (_, readings) = read(camera, 1_700_000_000_000).await;
    let reading = readings.unwrap().remove(0);
    assert_eq!((reading.metric.as_str(), &*reading.unit), ("picture", "By"));
    assert_eq!(reading.value, bytes.len() as f64);
    let about = &reading.extra["picture"];
    let id = Digest::of(&[&bytes]).to_hex();
    assert_eq!(about["sha256"], Value::from(id.clone()));
    assert_eq!(about["bytes"], Value::from(bytes.len()));
    assert_eq!(
        (&about["width"], &about["height"]),
        (&640.into(), &400.into())
    );
    assert_eq!(about["type"], "image/jpeg");
    let small = thumbnail(about["thumbnail"].as_str().unwrap());
    assert!(small.width() >= 64 && small.width() > small.height());
    let (kept, whole) = lab.pictures().open(&id).unwrap().unwrap();
    assert_eq!(whole, bytes);
    assert_eq!(
        (kept.camera.as_str(), kept.taken),
        ("gate", TimeMs(1_700_000_000_000))
    );
}

#[tokio::test]
async fn a_command_that_gives_no_picture_says_why() {
    let lab = Lab::new();
    for (script, why) in [
        ("exit 0", "nothing came"),
        ("echo hello", "neither JPEG nor PNG"),
        ("echo no camera >&2; exit 1", "no camera"),
        (
            "head -c 300000 /dev/zero",
            "a picture of more than 200000 bytes came",
        ),
        (
            "printf '\\377\\330\\377\\340xx'",
            "the picture does not read",
        ),
    ] {
        let keys = format!("argv = [\"/bin/sh\", \"-c\", {script:?}]\nmax_bytes = 200000");
        let (_, said) = read(lab.camera(&keys).unwrap(), 1).await;
        let said = said.unwrap_err();
        assert!(said.contains(why), "{script}: {said}");
        assert_eq!(lab.pictures().list(None).unwrap(), []);
    }
}

#[tokio::test]
async fn a_file_is_told_once_and_one_that_stays_the_same_for_too_long_fails() {
    let lab = Lab::new();
    let file = lab.file(&jpeg(32, 32));
    let keys = format!("file = {file:?}\ncheck = {{ late_sec = 60 }}");
    let mut camera = lab.camera(&keys).unwrap();
    let mut next = async |at: u64| {
        lab.clock.set(TimeMs(at));
        let (back, said) = read(camera_taken(&mut camera), at).await;
        camera = back;
        said.map(|readings| readings.len())
    };
    assert_eq!(next(1_000).await, Ok(1));
    assert_eq!(next(2_000).await, Ok(0));
    let why = next(62_000).await.unwrap_err();
    assert!(
        why.contains("the picture has been the same for 61 s"),
        "{why}"
    );
    lab.file(&jpeg(48, 32));
    assert_eq!(next(63_000).await, Ok(1));
    assert_eq!(next(64_000).await, Ok(0));
    camera.untold();
    lab.clock.set(TimeMs(65_000));
    let (_, said) = read(camera, 65_000).await;
    assert_eq!(
        said.unwrap().len(),
        1,
        "what was not published is told again"
    );
}

/// The camera, with nothing in its place.
fn camera_taken(camera: &mut Box<dyn Sensor>) -> Box<dyn Sensor> {
    struct Vacant;
    impl Sensor for Vacant {
        fn name(&self) -> &str {
            "vacant"
        }
        fn read(&mut self, _: TimeMs) -> Result<Vec<Reading>, SensorError> {
            Ok(Vec::new())
        }
    }
    std::mem::replace(camera, Box::new(Vacant))
}

#[test]
fn every_mistake_is_named() {
    let lab = Lab::new();
    let cat = "argv = [\"/bin/cat\"]";
    for (keys, why) in [
        ("", "argv or file: one of them"),
        (
            "argv = [\"/bin/cat\"]\nfile = \"/x\"",
            "argv or file: one of them",
        ),
        ("argv = [\"cat\"]", "\"cat\" must be an absolute path"),
        ("argv = [\"/no/such\"]", "there is no program /no/such"),
        ("file = \"x.jpg\"", "file: x.jpg must be an absolute path"),
        (
            &format!("{cat}\nevery_ms = 100"),
            "every_ms: must be at least 1000",
        ),
        (&format!("{cat}\nkeep = 0"), "keep: must be 1 to 5000"),
        (
            &format!("{cat}\nkeep_mb = 3"),
            "keep_mb: one picture of max_bytes has no room",
        ),
        (
            &format!("{cat}\nmax_bytes = 1"),
            "max_bytes: must be 1000 to 16000000",
        ),
        (
            &format!("{cat}\ncheck = {{ late = 1 }}"),
            "unknown field `late`",
        ),
        (&format!("{cat}\nurl = \"x\""), "unknown field `url`"),
    ] {
        let told = lab.camera(keys).err().unwrap();
        assert!(told.contains(why), "{keys}: {told}");
    }
    let named: Camera = toml::from_str("name = \"../x\"\nargv = [\"/bin/cat\"]").unwrap();
    assert_eq!(named.subject(), "../x");
    assert!(!is_camera(named.subject()));
}

#[test]
fn thumbnails_are_small_whatever_the_picture() {
    for (width, height, noise) in [
        (1, 1, false),
        (900, 700, true),
        (700, 3, true),
        (3, 700, false),
    ] {
        for format in [ImageFormat::Jpeg, ImageFormat::Png] {
            let seen = look(&written(drawn(width, height, noise), format)).unwrap();
            assert_eq!((seen.width, seen.height), (width, height));
            thumbnail(&seen.thumbnail);
        }
    }
    // Other kinds of pixels.
    let grey = DynamicImage::from(drawn(40, 30, false));
    for image in [
        grey.to_luma16().into(),
        grey.to_rgba8().into(),
        DynamicImage::from(grey.to_luma8()),
    ] {
        let seen = look(&written(image, ImageFormat::Png)).unwrap();
        assert_eq!(seen.format, Format::Png);
        thumbnail(&seen.thumbnail);
    }
}

/// A PNG that says that it is so large, and has next to nothing in it.
fn claims(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = written(drawn(1, 1, false), ImageFormat::Png);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    // The checksum of the first chunk.
    let mut sum = u32::MAX;
    for byte in &bytes[12..29] {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 {
                (sum >> 1) ^ 0xedb8_8320
            } else {
                sum >> 1
            };
        }
    }
    bytes[29..33].copy_from_slice(&(!sum).to_be_bytes());
    bytes
}

#[test]
fn a_picture_that_claims_to_be_huge_is_refused_before_it_is_unpacked() {
    assert!(look(&claims(1, 1)).is_ok(), "the checksum is right");
    for (width, height) in [
        (8_000, 8_000),
        (60_000, 60_000),
        (u32::MAX >> 1, 1),
        (8_193, 10),
    ] {
        let why = look(&claims(width, height)).unwrap_err();
        let known = ["at most 17 million pixels", "does not read"];
        assert!(known.iter().any(|known| why.contains(known)), "{why}");
    }
    // Within the limits, and nothing behind it.
    look(&claims(4_000, 4_000)).unwrap_err();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_are_its_end(
        png in any::<bool>(),
        cut in 0_usize..3_000,
        changes in prop::collection::vec((0_usize..3_000, any::<u8>()), 0..12),
    ) {
        let format = if png { ImageFormat::Png } else { ImageFormat::Jpeg };
        let mut bytes = written(drawn(40, 30, true), format);
        for (at, byte) in changes {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        bytes.truncate(bytes.len().saturating_sub(cut));
        if let Ok(seen) = look(&bytes) {
            prop_assert!(seen.thumbnail.len() <= THUMBNAIL_MAX_BYTES);
        }
    }
}

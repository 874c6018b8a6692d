//! A camera at a node: what the mesh is told of a picture, and the picture itself where it was taken.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::process::{Place, eventually};

/// One pixel.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

#[test]
fn a_picture_is_told_by_its_hash_and_fetched_at_its_node() {
    let place = Place::new();
    let taken = place.beside("taken.png");
    let bytes = STANDARD.decode(PNG).unwrap();
    fs::write(&taken, &bytes).unwrap();
    let text = format!(
        "[[device]]\nkind = \"camera\"\nname = \"gate\"\nzone = \"yard\"\nevery_ms = 1000\n\
         argv = [\"/bin/cat\", \"{}\"]\n",
        taken.display()
    );
    place.write("config.toml", &text);
    let node = place.start(&["--role", "field"]);
    let picture = eventually("a picture is told of", || {
        let frames = place.json(&["frames"]);
        let mut all = frames.as_array()?.iter();
        all.find_map(|frame| frame["frame"]["data"].get("picture").cloned())
    });
    assert_eq!(
        (&picture["width"], &picture["type"]),
        (&1.into(), &"image/png".into())
    );
    let sha256 = picture["sha256"].as_str().unwrap().to_owned();
    let fact = &place.json(&["world", "--metric", "picture"])[0];
    assert_eq!(
        (&fact["zone"], &fact["effectiveTier"]),
        (&"yard".into(), &"T2".into())
    );

    let listed = place.json(&["device", "pictures", "gate"]);
    assert_eq!(listed[0]["id"], sha256.as_str(), "{listed}");
    let fetched = |name: &str, id: &str| {
        let out = place.beside(name);
        let said = place.run(&["device", "picture", id, "--out", &out.display().to_string()]);
        (said, fs::read(out).ok())
    };
    let (said, got) = fetched("a.png", &sha256[..12]);
    assert_eq!(got.as_ref(), Some(&bytes), "{said:?}");
    assert!(said.out.contains(&sha256), "{said:?}");
    let (said, got) = fetched("a.png", &sha256);
    said.fails(1, &["is there already"]);
    assert_eq!(got.as_ref(), Some(&bytes));
    let (said, got) = fetched("b.png", "0123456789ab");
    said.fails(3, &["no picture begins like that"]);
    assert_eq!(got, None);
    assert_eq!(node.stop(), 0);
    // Also where no node runs.
    assert_eq!(
        place.json(&["device", "pictures"])[0]["id"],
        sha256.as_str()
    );
    let (said, got) = fetched("c.png", &sha256);
    assert_eq!(got.as_ref(), Some(&bytes), "{said:?}");
}

//! The tray's icons, drawn from simple shapes, so that the state shows by shape as well as by colour: a
//! disc is healthy, a triangle needs you, a diamond with a notch is a problem, a square is stopped, a
//! broken square is a stop that did not reach all. The console uses the same signs.

use tauri::image::Image;

use super::summary::Mood;

/// Width and height of an icon, in pixels.
const SIDE: u32 = 64;
/// Samples of a pixel in each direction, for smooth edges.
const SAMPLES: u32 = 3;

/// Whether a point of the unit square, from -1 to 1, is inside the shape.
fn inside(mood: Mood, x: f32, y: f32) -> bool {
    match mood {
        Mood::Healthy => x.hypot(y) <= 0.78,
        Mood::NeedsYou => (-0.8..=0.72).contains(&y) && x.abs() <= (y + 0.8) * 0.56,
        Mood::Problem => {
            x.abs() + y.abs() <= 0.95 && !(x.abs() <= 0.1 && (-0.5..=0.5).contains(&y))
        }
        Mood::Stopped => x.abs() <= 0.68 && y.abs() <= 0.68,
        // A square frame with a thick bar and a dot in it: it calls.
        Mood::NotStopped => {
            let side = x.abs().max(y.abs());
            let bar =
                x.abs() <= 0.15 && ((-0.55..=0.15).contains(&y) || (0.33..=0.58).contains(&y));
            (0.76..=0.96).contains(&side) || bar
        }
    }
}

/// Its colour: legible on light and dark panels.
fn colour(mood: Mood) -> [u8; 3] {
    match mood {
        Mood::Healthy => [0x2a, 0xa8, 0x6b],
        Mood::NeedsYou => [0xe0, 0x9a, 0x16],
        Mood::Problem => [0xd9, 0x53, 0x2c],
        Mood::Stopped | Mood::NotStopped => [0xc6, 0x2a, 0x3b],
    }
}

/// The pixels of an icon, as RGBA.
pub(super) fn pixels(mood: Mood) -> Vec<u8> {
    let [r, g, b] = colour(mood);
    let fine = SIDE * SAMPLES;
    // Small whole numbers: exact as f32.
    let at = |n: u32| {
        (f32::from(u16::try_from(n).unwrap_or(0)) + 0.5) * 2.0
            / f32::from(u16::try_from(fine).unwrap_or(1))
            - 1.0
    };
    let mut pixels = Vec::new();
    for row in 0..SIDE {
        for column in 0..SIDE {
            let samples = (0..SAMPLES * SAMPLES).filter(|n| {
                let x = column * SAMPLES + n % SAMPLES;
                let y = row * SAMPLES + n / SAMPLES;
                inside(mood, at(x), at(y))
            });
            let hits = u32::try_from(samples.count()).unwrap_or(0);
            let alpha = u8::try_from(hits * 255 / (SAMPLES * SAMPLES)).unwrap_or(255);
            pixels.extend_from_slice(&[r, g, b, alpha]);
        }
    }
    pixels
}

/// The icon of a mood.
pub(super) fn of(mood: Mood) -> Image<'static> {
    Image::new_owned(pixels(mood), SIDE, SIDE)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn each_mood_has_its_own_shape_not_only_its_colour() {
        let shape = |mood| {
            let alpha: Vec<u8> = pixels(mood).chunks(4).map(|p| p[3]).collect();
            assert_eq!(alpha.len(), 64 * 64);
            alpha
        };
        let moods = [
            Mood::Healthy,
            Mood::NeedsYou,
            Mood::Problem,
            Mood::Stopped,
            Mood::NotStopped,
        ];
        let all = moods.map(shape);
        for (n, a) in all.iter().enumerate() {
            for b in &all[n + 1..] {
                let differ = a
                    .iter()
                    .zip(b)
                    .filter(|(a, b)| a.abs_diff(**b) > 128)
                    .count();
                assert!(differ > 200, "two shapes differ in {differ} pixels only");
            }
        }
    }
}

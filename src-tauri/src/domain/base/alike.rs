//! Names that look the same and are not. The letters here are those that common fonts draw alike in Latin, Cyrillic and
//! Greek, and the digits that are taken for letters: a small table of our own, since the whole one of Unicode (UTS #39)
//! takes some 250 KB of every node's memory.

use unicode_normalization::UnicodeNormalization as _;

use super::text::folded;

/// Letters that look like the Latin one at the end of their line.
const ALIKE: [&str; 27] = [
    "АаΑα a",
    "ВΒß b",
    "СсϹϲ c",
    "Ԁԁ d",
    "ЕеΕҽ e",
    "Ԍɡ g",
    "НнΗ h",
    "ІіΙιӀӏ1|lL i",
    "Јј j",
    "КкΚκ k",
    "МмΜ m",
    "Νηп n",
    "ОоΟοσ0 o",
    "РрΡρ p",
    "Ԛԛ q",
    "г r",
    "Ѕѕ s",
    "ТтΤτ t",
    "υμ u",
    "Ѵѵν v",
    "Ԝԝѡω w",
    "ХхΧχ x",
    "УуΥγү y",
    "Ζ z",
    "З3 з",
    "Ьь ь",
    "‐‑‒–—−_ -",
];

/// The skeleton of a name: names with the same one are easily confused.
pub fn looks(name: &str) -> String {
    let like = |c: char| {
        let line = ALIKE
            .iter()
            .find(|line| line.chars().any(|known| known == c));
        line.and_then(|line| line.chars().next_back()).unwrap_or(c)
    };
    // Marks above and below a letter stay: they are seen.
    let looks: String = name.nfkd().map(like).collect();
    folded(&looks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_the_same_are_found_and_others_are_not() {
        for (one, other) in [
            ("field-a", "field-а"),
            ("PUMP", "РUМР"),
            ("pump", "рumр"),
            ("node-l", "node-1"),
            ("node-0", "node-o"),
            ("north_field", "north–field"),
            ("Büro", "Bu\u{308}ro"),
            ("centre", "cen\u{200b}tre"),
        ] {
            assert_eq!(looks(one), looks(other), "{one} {other}");
        }
        for (one, other) in [
            ("field-a", "field-b"),
            ("node-2", "node-3"),
            ("Büro", "Buro"),
            ("Насос", "Насоc2"),
        ] {
            assert_ne!(looks(one), looks(other), "{one} {other}");
        }
    }
}

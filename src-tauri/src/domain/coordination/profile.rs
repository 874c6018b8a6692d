//! What a node can do, as it says itself: its machine, the programs that it has, and the tags that people gave it. It decides where
//! messages go and grants nothing.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::domain::base::limits::{
    NAME_MAX_BYTES, PROFILE_GPUS_MAX, PROFILE_SKILLS_MAX, TAG_MAX_BYTES, TAGS_MAX,
};
use crate::domain::base::text::one_line;

/// Who made a graphics processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum GpuVendor {
    /// NVIDIA, on a card.
    Nvidia,
    /// NVIDIA, in a Jetson.
    Jetson,
    /// AMD.
    Amd,
    /// Intel.
    Intel,
    /// Apple.
    Apple,
    /// Another one, or one that a later version knows.
    #[serde(other)]
    Other,
}

/// A graphics processor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Gpu {
    /// Who made it.
    pub vendor: GpuVendor,
    /// What it is called.
    pub name: String,
}

/// What kind a skill is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum SkillKind {
    /// A program of the machine.
    Tool,
    /// One that a later version knows.
    #[serde(other)]
    Other,
}

/// Something that a node can be used for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Skill {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: SkillKind,
}

/// What a node says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Profile {
    /// The operating system: `linux`, `macos`, `windows`; empty where it is not known.
    pub os: String,
    /// The processor's architecture: `x86_64`, `aarch64`.
    pub arch: String,
    /// How many processors it has.
    pub cpus: u32,
    /// How much memory it has, in MiB.
    pub memory_mib: u64,
    /// Its graphics processors.
    pub gpus: Vec<Gpu>,
    /// Its skills.
    pub skills: Vec<Skill>,
    /// The tags that people gave it.
    pub tags: BTreeSet<String>,
}

/// Whether a text can be a tag: small letters, digits, `-`, `_`, `.` and `:`.
pub fn is_tag(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.:".contains(&b);
    (1..=TAG_MAX_BYTES).contains(&text.len()) && text.bytes().all(plain)
}

impl Profile {
    /// The same, if it keeps the limits.
    ///
    /// # Errors
    /// What is too much or does not read, in a sentence.
    pub fn checked(self) -> Result<Self, String> {
        let lists = [
            ("gpus", self.gpus.len(), PROFILE_GPUS_MAX),
            ("skills", self.skills.len(), PROFILE_SKILLS_MAX),
            ("tags", self.tags.len(), TAGS_MAX),
        ];
        for (what, len, most) in lists {
            if len > most {
                return Err(format!("{what}: more than {most}"));
            }
        }
        let plain =
            |text: &str| text.len() <= NAME_MAX_BYTES && one_line(text, NAME_MAX_BYTES) == text;
        let named = [&self.os, &self.arch].into_iter().all(|text| plain(text))
            && self.gpus.iter().all(|gpu| plain(&gpu.name))
            && self.skills.iter().all(|skill| plain(&skill.name));
        if !named {
            return Err(format!(
                "a name must have at most {NAME_MAX_BYTES} bytes in one line"
            ));
        }
        if !self.tags.iter().all(|tag| is_tag(tag)) {
            return Err(format!(
                "a tag must have 1 to {TAG_MAX_BYTES} small letters, digits, - _ . and :"
            ));
        }
        Ok(self)
    }

    /// Whether it has this skill.
    pub fn can(&self, skill: &str) -> bool {
        self.skills.iter().any(|own| own.name == skill)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_a_node_says_of_itself_is_bounded_and_later_words_are_taken() {
        let read = |json: serde_json::Value| -> Result<Profile, String> {
            let profile: Profile = serde_json::from_value(json).map_err(|e| e.to_string())?;
            profile.checked()
        };
        let gpu = serde_json::json!({"vendor": "quantum", "name": "Q1"});
        let good =
            read(serde_json::json!({"os": "linux", "gpus": [gpu], "tags": ["fast"], "later": 1}));
        assert_eq!(good.unwrap().gpus[0].vendor, GpuVendor::Other);
        let many: Vec<String> = (0..=TAGS_MAX).map(|n| format!("t{n}")).collect();
        for bad in [
            serde_json::json!({"tags": many}),
            serde_json::json!({"tags": ["Fast Lane"]}),
            serde_json::json!({"os": "a\nb"}),
            serde_json::json!({"os": "x".repeat(NAME_MAX_BYTES + 1)}),
            serde_json::json!({"cpus": -1}),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }
}

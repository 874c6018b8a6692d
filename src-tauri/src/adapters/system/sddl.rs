//! Access lists as Windows writes them down (SDDL), as far as it takes to tell who else may use a file. Names of users differ
//! between languages; these texts do not.

use super::SERVICE_ACCOUNT;

/// The rights by which the content of a file can be read.
pub(super) const READ: u32 = 0x8000_0000 | 0x1000_0000 | 0x1;
/// The rights by which the content of a file, its name or its rights can be changed.
pub(super) const WRITE: u32 =
    0x4000_0000 | 0x1000_0000 | 0x2 | 0x4 | 0x40 | 0x1_0000 | 0x4_0000 | 0x8_0000;

/// The system, the administrators, whoever owns or makes a file, and the service; as letters and as numbers.
const KEEPERS: [&str; 8] = [
    "SY",
    "BA",
    "OW",
    "CO",
    "S-1-5-18",
    "S-1-5-32-544",
    "S-1-3-4",
    "S-1-3-0",
];

/// What the letters of rights stand for.
const LETTERS: [(&str, u32); 22] = [
    ("GA", 0x1000_0000),
    ("GR", 0x8000_0000),
    ("GW", 0x4000_0000),
    ("GX", 0x2000_0000),
    ("FA", 0x1f_01ff),
    ("FR", 0x12_0089),
    ("FW", 0x12_0116),
    ("FX", 0x12_00a0),
    ("RC", 0x2_0000),
    ("SD", 0x1_0000),
    ("WD", 0x4_0000),
    ("WO", 0x8_0000),
    ("CC", 0x1),
    ("DC", 0x2),
    ("LC", 0x4),
    ("SW", 0x8),
    ("RP", 0x10),
    ("WP", 0x20),
    ("DT", 0x40),
    ("LO", 0x80),
    ("CR", 0x100),
    ("KA", 0xf_003f),
];

/// The text of a file that `icacls /save` wrote: UTF-16, with or without a mark.
pub(super) fn text_of(bytes: &[u8]) -> String {
    let units: Vec<u16> = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    String::from_utf16_lossy(&units)
        .trim_start_matches('\u{feff}')
        .to_owned()
}

/// Who is allowed one of the `wanted` rights, beside the system, the administrators, the owner and `own`. A file without an
/// access list is everybody's; of a text that holds none nothing is known.
pub(super) fn others(text: &str, wanted: u32, own: Option<&str>) -> Vec<String> {
    let Some(list) = text.lines().find_map(|line| line.split("D:").nth(1)) else {
        return Vec::new();
    };
    if list.contains("NO_ACCESS_CONTROL") {
        return vec!["everybody".to_owned()];
    }
    let list = list.split("S:").next().unwrap_or_default();
    let entries = list.split('(').skip(1);
    let mut found: Vec<String> = entries
        .filter_map(|entry| {
            let mut parts = entry.split(')').next()?.split(';');
            let (kind, flags, rights) = (parts.next()?, parts.next()?, parts.next()?);
            let who = parts.nth(2)?;
            let allows = matches!(kind, "A" | "XA" | "OA");
            // Inherited by what is in the folder only.
            let here = !flags.contains("IO");
            let kept = KEEPERS.contains(&who)
                || own == Some(who)
                || SERVICE_ACCOUNT.strip_prefix('*') == Some(who);
            (allows && here && !kept && mask(rights) & wanted != 0).then(|| name(who))
        })
        .collect();
    found.dedup();
    found
}

/// The rights as a number. What is not known counts as all.
fn mask(rights: &str) -> u32 {
    if let Some(digits) = rights.strip_prefix("0x") {
        return u32::from_str_radix(digits, 16).unwrap_or(u32::MAX);
    }
    let pairs = rights.as_bytes().chunks(2);
    pairs.fold(0, |all, pair| {
        let known = LETTERS
            .iter()
            .find(|(letters, _)| letters.as_bytes() == pair);
        all | known.map_or(u32::MAX, |(_, mask)| *mask)
    })
}

/// The usual groups by name, others as they are written.
fn name(who: &str) -> String {
    match who {
        "WD" | "S-1-1-0" => "everybody".to_owned(),
        "BU" | "S-1-5-32-545" => "all users".to_owned(),
        "AU" | "S-1-5-11" => "all who have signed in".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: &str = "S-1-5-21-1-2-3-1001";

    #[test]
    fn a_list_of_the_owner_the_system_and_the_administrators_is_private() {
        let text = format!("identity.json\r\nD:PAI(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;{ME})\r\n");
        assert!(others(&text, READ | WRITE, Some(ME)).is_empty());
        // Somebody else's number is not mine.
        assert_eq!(others(&text, READ, Some("S-1-5-21-1-2-3-1002")), [ME]);
    }

    #[test]
    fn who_else_may_read_or_write_is_named() {
        let text = "x\r\nD:AI(A;ID;FA;;;SY)(A;ID;0x1200a9;;;BU)(D;;FA;;;WD)(A;OICIIO;FA;;;AU)S:(AU;;FA;;;WD)";
        assert_eq!(others(text, READ, None), ["all users"]);
        assert!(others(text, WRITE, None).is_empty());
        assert_eq!(others("x\nD:(A;;FRFW;;;WD)", WRITE, None), ["everybody"]);
        assert_eq!(
            others("x\nD:(A;;CCLC;;;S-1-1-0)", READ, None),
            ["everybody"]
        );
        assert_eq!(others("x\nD:NO_ACCESS_CONTROL", READ, None), ["everybody"]);
        // Rights that are not known count.
        assert_eq!(others("x\nD:(A;;ZZ;;;BU)", WRITE, None), ["all users"]);
        assert!(others("nothing", READ | WRITE, None).is_empty());
    }

    #[test]
    fn what_icacls_writes_is_utf_16() {
        let bytes: Vec<u8> = "ä\r\nD:(A;;FA;;;WD)"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(others(&text_of(&bytes), READ, None), ["everybody"]);
    }
}

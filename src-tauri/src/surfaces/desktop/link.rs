//! `clawmesh://` addresses: each names a place of the console, and following one goes there. None acts,
//! and none has a part that a page or another program could use to say more than a place. Whatever is
//! not written exactly as listed here is refused, for any program may hand us one.
//!
//! `clawmesh://approvals?id=…`, `clawmesh://nodes/…`, `clawmesh://traces/…`, `clawmesh://frames/…`,
//! `clawmesh://settings/peers`, and `clawmesh://` with the name of a page.

/// The scheme of the addresses.
pub(super) const SCHEME: &str = "clawmesh";
/// Longest address that is looked at, in bytes.
const LINK_MAX_BYTES: usize = 256;
/// Longest id of a proposal, node or trace, in bytes.
const ID_MAX_BYTES: usize = 64;
/// The pages that have no more to say.
const PAGES: [&str; 9] = [
    "approvals",
    "topology",
    "twin",
    "telemetry",
    "command",
    "world",
    "trust",
    "audit",
    "settings",
];
/// The parts of the settings.
const TABS: [&str; 4] = ["node", "discovery", "peers", "policy"];

/// Whether a text claims to be one of our addresses.
pub(super) fn is_ours(text: &str) -> bool {
    let scheme = text.as_bytes().get(..=SCHEME.len());
    scheme.is_some_and(|s| s.eq_ignore_ascii_case(b"clawmesh:"))
}

fn is_id(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    (1..=ID_MAX_BYTES).contains(&text.len()) && text.bytes().all(fits) && !text.starts_with('-')
}

/// The place of the console that an address names; nothing for any other text.
pub(super) fn place(link: &str) -> Option<String> {
    if link.len() > LINK_MAX_BYTES || !is_ours(link) {
        return None;
    }
    let rest = link.get(SCHEME.len() + 1..)?.strip_prefix("//")?;
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    // Programs that hand addresses on like to put a slash at the end.
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut parts = path.split('/');
    let of = |known: &[&str], text: &str| known.contains(&text).then(|| text.to_owned());
    match (parts.next()?, parts.next(), parts.next(), query) {
        ("" | "overview", None, None, None) => Some("/".to_owned()),
        ("approvals", None, None, Some(query)) => {
            let id = query.strip_prefix("id=").filter(|id| is_id(id))?;
            Some(format!("/approvals?id={id}"))
        }
        ("approvals", Some(id), None, None) if is_id(id) => Some(format!("/approvals?id={id}")),
        ("nodes", None, None, None) => Some("/topology".to_owned()),
        ("nodes", Some(id), None, None) if is_id(id) => Some(format!("/topology?node={id}")),
        ("frames", Some(id), None, None) if is_id(id) => {
            Some(format!("/world?tab=frames&frame={id}"))
        }
        ("traces", Some(id), None, None) if is_id(id) => Some(format!("/world?tab=trace&id={id}")),
        ("settings", Some(tab), None, None) => Some(format!("/settings?tab={}", of(&TABS, tab)?)),
        (page, None, None, None) => Some(format!("/{}", of(&PAGES, page)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_names_a_place() {
        for (link, wanted) in [
            ("clawmesh://", "/"),
            ("clawmesh://overview", "/"),
            ("clawmesh://approvals", "/approvals"),
            ("clawmesh://approvals?id=4e1f-9a", "/approvals?id=4e1f-9a"),
            ("clawmesh://approvals/?id=4e1f-9a", "/approvals?id=4e1f-9a"),
            ("clawmesh://approvals/4e1f-9a", "/approvals?id=4e1f-9a"),
            ("CLAWMESH://nodes/ab12/", "/topology?node=ab12"),
            ("clawmesh://traces/ab12", "/world?tab=trace&id=ab12"),
            ("clawmesh://frames/ab12", "/world?tab=frames&frame=ab12"),
            ("clawmesh://twin", "/twin"),
            ("clawmesh://settings/peers", "/settings?tab=peers"),
            ("clawmesh://audit", "/audit"),
        ] {
            assert_eq!(place(link).as_deref(), Some(wanted), "{link}");
        }
    }

    #[test]
    fn whatever_else_is_refused() {
        let long = format!("clawmesh://approvals?id={}", "a".repeat(300));
        for link in [
            "",
            "clawmesh",
            "clawmesh:",
            "clawmesh:approvals",
            "clawmesh:///approvals/x/y",
            "clawmesh://approvals?id=",
            "clawmesh://approvals?id=a&decision=approve",
            "clawmesh://approvals?decision=approve&id=a",
            "clawmesh://approvals?id=a#approve",
            "clawmesh://approvals?id=a%26b",
            "clawmesh://approvals?id=a b",
            "clawmesh://approvals?id=<script>",
            "clawmesh://approvals/../estop",
            "clawmesh://nodes/..",
            "clawmesh://nodes/a/b",
            "clawmesh://nodes/-x",
            "clawmesh://user@approvals",
            "clawmesh://approvals:80",
            "clawmesh://estop",
            "clawmesh://api/operator/v1/estop",
            "clawmesh://settings/evil",
            "clawmesh://settings?tab=peers",
            "clawmesh://welcome\n",
            "clawmesh://\u{202e}approvals",
            "https://approvals",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "--state-dir=/tmp",
            &long,
        ] {
            assert_eq!(place(link), None, "{link}");
        }
    }

    #[test]
    fn the_package_hands_addresses_to_us() {
        let config = include_str!("../../../../tauri.conf.json");
        let config: serde_json::Value = serde_json::from_str(config).unwrap();
        let told = &config["plugins"]["deep-link"]["desktop"]["schemes"];
        assert_eq!(*told, serde_json::json!([SCHEME]));
        let template = &config["bundle"]["linux"]["deb"]["desktopTemplate"];
        assert_eq!(*template, "icons/linux/clawmesh.desktop");
        let entry = include_str!("../../../../icons/linux/clawmesh.desktop");
        for line in ["Exec={{exec}} %u", "MimeType={{mime_type}};"] {
            assert!(entry.lines().any(|l| l == line), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_text_leads_out_of_the_console(text in "\\PC{0,80}", page in "[a-z/?=&.%#:@-]{0,40}") {
            for link in [text.clone(), format!("clawmesh://{text}"), format!("clawmesh://{page}")] {
                if let Some(path) = place(&link) {
                    prop_assert!(path.starts_with('/') && !path.starts_with("//"));
                    prop_assert!(!path.contains("..") && !path.contains('#'));
                    prop_assert!(path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/?=&-".contains(&b)));
                }
            }
        }
    }
}

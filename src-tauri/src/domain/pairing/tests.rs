//! Pairing against accidents and against somebody in the middle.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::base::MeshId;
use crate::domain::identity::DeviceKey;

fn key(n: u8) -> DeviceKey {
    DeviceKey::from_seed(&[n; 32])
}

fn mesh(n: u8) -> MeshId {
    format!("mesh-{n}").parse().unwrap()
}

fn persona(nonce: u8, device: u8, mesh_number: u8, new: bool) -> Persona {
    Persona::new(
        &[nonce; 32],
        key(device).public(),
        "node",
        "field",
        mesh(mesh_number),
        new,
    )
}

fn secret(n: u8) -> LinkSecret {
    LinkSecret::from_bytes([n; 16])
}

/// Both ends of an honest pairing, at the comparison.
fn honest() -> (Comparison, Comparison) {
    let (initiator, start) = Initiator::begin(
        persona(1, 1, 1, true),
        Some(key(2).id().clone()),
        Some(secret(7)),
    );
    let (acceptor, answer) = Acceptor::answer(persona(2, 2, 2, true), &start).unwrap();
    let (a, reveal) = initiator.answered(answer).unwrap();
    let b = acceptor.revealed(reveal, &secret(7)).unwrap();
    (a, b)
}

#[test]
fn two_honest_ends_see_the_same_and_agree() {
    let (mut a, mut b) = honest();
    assert_eq!(a.short_string(), b.short_string());
    assert_eq!(a.joining(), b.joining());
    assert_eq!(a.joining().unwrap().moves, Some(Side::Initiator));
    let from_a = a.say(Verdict::Yes, &key(1)).unwrap();
    assert!(!a.agreed() && !b.agreed());
    assert_eq!(b.heard(&from_a), Ok(Verdict::Yes));
    assert!(!b.agreed(), "our own person has not spoken yet");
    let from_b = b.say(Verdict::Yes, &key(2)).unwrap();
    assert_eq!(a.heard(&from_b), Ok(Verdict::Yes));
    assert!(a.agreed() && b.agreed());
}

/// A vector: other programs and later versions must come to the same string.
#[test]
fn the_string_of_known_words_never_changes() {
    let (a, _) = honest();
    let string = a.short_string();
    let names: Vec<&str> = string.emoji().iter().map(|e| e.1).collect();
    assert_eq!((names.join(" ").as_str(), string.digits().as_str()), VECTOR,);
}

#[test]
fn sixty_four_pictures_all_different() {
    let pictures: BTreeSet<&str> = EMOJI.iter().map(|e| e.0).collect();
    let names: BTreeSet<&str> = EMOJI.iter().map(|e| e.1).collect();
    assert_eq!((pictures.len(), names.len()), (64, 64));
}

#[test]
fn a_no_never_agrees() {
    for (ours, theirs) in [(Verdict::No, Verdict::Yes), (Verdict::Yes, Verdict::No)] {
        let (mut a, mut b) = honest();
        let from_a = a.say(ours, &key(1)).unwrap();
        let from_b = b.say(theirs, &key(2)).unwrap();
        a.heard(&from_b).unwrap();
        b.heard(&from_a).unwrap();
        assert!(!a.agreed() && !b.agreed());
    }
}

#[test]
fn a_verdict_counts_once_from_the_right_device_about_this_pairing() {
    let (mut a, mut b) = honest();
    let from_a = a.say(Verdict::Yes, &key(1)).unwrap();
    let code = |r: Result<Verdict, Refusal>| r.unwrap_err().code;
    // Its own words sent back to it, and words signed by somebody else.
    assert_eq!(code(a.heard(&from_a)), Code::AuthFailed);
    let (mut c, _) = honest();
    let forged = c.say(Verdict::Yes, &key(9)).unwrap();
    assert_eq!(code(b.heard(&forged)), Code::AuthFailed);
    // A no made into a yes.
    let (mut d, _) = honest();
    let turned = SignedVerdict {
        verdict: Verdict::Yes,
        ..d.say(Verdict::No, &key(1)).unwrap()
    };
    assert_eq!(code(b.heard(&turned)), Code::AuthFailed);
    b.heard(&from_a).unwrap();
    assert_eq!(code(b.heard(&from_a)), Code::PairingOutOfOrder);
    assert_eq!(
        a.say(Verdict::No, &key(1)).unwrap_err().code,
        Code::PairingOutOfOrder
    );
}

#[test]
fn the_link_names_the_device_and_its_secret_is_proven() {
    let (initiator, start) =
        Initiator::begin(persona(1, 1, 1, true), Some(key(3).id().clone()), None);
    let (_, answer) = Acceptor::answer(persona(2, 2, 2, true), &start).unwrap();
    assert_eq!(
        initiator.answered(answer).unwrap_err().code,
        Code::PublicKeyMismatch
    );
    let (initiator, start) = Initiator::begin(persona(1, 1, 1, true), None, Some(secret(8)));
    let (acceptor, answer) = Acceptor::answer(persona(2, 2, 2, true), &start).unwrap();
    let (_, reveal) = initiator.answered(answer).unwrap();
    assert_eq!(
        acceptor.revealed(reveal, &secret(7)).unwrap_err().code,
        Code::AuthFailed
    );
}

#[test]
fn a_device_does_not_pair_with_itself() {
    let (initiator, start) = Initiator::begin(persona(1, 1, 1, true), None, None);
    let (_, answer) = Acceptor::answer(persona(2, 1, 2, true), &start).unwrap();
    assert_eq!(initiator.answered(answer).unwrap_err().code, Code::Conflict);
}

#[test]
fn who_moves_follows_from_who_is_new() {
    let rule = |a_new, b_new| joining(&persona(1, 1, 1, a_new), &persona(2, 2, 2, b_new));
    let moves = |a_new, b_new| rule(a_new, b_new).map(|j| (j.mesh, j.moves));
    assert_eq!(moves(true, true), Ok((mesh(2), Some(Side::Initiator))));
    assert_eq!(moves(true, false), Ok((mesh(2), Some(Side::Initiator))));
    assert_eq!(moves(false, true), Ok((mesh(1), Some(Side::Acceptor))));
    let refused = rule(false, false).unwrap_err();
    assert_eq!(refused.code, Code::MeshIdMismatch);
    for word in ["mesh-1", "mesh-2", "--mesh-name"] {
        assert!(refused.message.contains(word), "{refused}");
    }
    let same = joining(&persona(1, 1, 5, false), &persona(2, 2, 5, true)).unwrap();
    assert_eq!(same.moves, None);
}

#[test]
fn names_are_shown_without_what_could_deceive() {
    let odd = Persona::new(
        &[1; 32],
        key(1).public(),
        "a\u{202e}b\u{1b}[31m\n",
        "r",
        mesh(1),
        true,
    );
    assert_eq!(odd.shown_name(), "ab[31m");
    let empty = Persona::new(&[1; 32], key(1).public(), "\u{202e}", "r", mesh(1), true);
    assert_eq!(empty.shown_name(), key(1).id().short());
    let long = "x".repeat(129);
    let mut value = serde_json::to_value(&odd).unwrap();
    value["name"] = json!(long);
    assert_eq!(Persona::parse(value).unwrap_err().code, Code::InvalidParams);
}

#[test]
fn a_link_survives_its_text_and_nothing_else_is_one() {
    let link = PairLink {
        device: key(2).id().clone(),
        url: "ws://10.0.0.7:18789".to_owned(),
        secret: secret(7),
    };
    let text = link.to_string();
    assert_eq!(text.parse::<PairLink>(), Ok(link.clone()));
    assert!(!format!("{link:?}").contains(text.rsplit('=').next().unwrap()));
    for bad in [
        "",
        "ws://10.0.0.7:18789",
        "clawmesh://pair?",
        text.get(..80).unwrap(),
        &format!("{text}&k=again"),
        &format!("{text}&x=1"),
        &text.replace("id=", "id=z"),
    ] {
        assert!(bad.parse::<PairLink>().is_err(), "{bad}");
    }
}

/// Somebody in the middle with a key of its own shows the two persons different strings.
#[test]
fn a_relay_that_puts_its_key_in_shows_two_strings() {
    let mut same = 0;
    for n in 0..200_u8 {
        let relay = |nonce: u8| persona(nonce, 66, 1, true);
        let (a, start_a) = Initiator::begin(persona(n, 1, 1, true), None, None);
        // Towards B the relay is the initiator, towards A it is the acceptor.
        let (relay_b, start_b) = Initiator::begin(relay(n.wrapping_add(1)), None, None);
        let (relay_a, answer_a) = Acceptor::answer(relay(n.wrapping_add(2)), &start_a).unwrap();
        let (b, answer_b) = Acceptor::answer(persona(n, 2, 2, true), &start_b).unwrap();
        let (seen_a, reveal_a) = a.answered(answer_a).unwrap();
        let (_, reveal_b) = relay_b.answered(answer_b).unwrap();
        relay_a.revealed(reveal_a, &secret(0)).unwrap();
        let seen_b = b.revealed(reveal_b, &secret(0)).unwrap();
        same += u32::from(seen_a.short_string() == seen_b.short_string());
    }
    assert_eq!(same, 0);
}

/// Alters one byte of a JSON text; `None` if nothing sensible is left to send.
fn altered(value: &impl serde::Serialize, at: usize, with: u8) -> Option<Value> {
    let mut bytes = serde_json::to_vec(value).unwrap();
    let at = at % bytes.len();
    if bytes[at] == with {
        return None;
    }
    bytes[at] = with;
    serde_json::from_slice(&bytes).ok()
}

proptest! {
    #[test]
    fn any_altered_byte_fails_or_is_seen(at in 0usize..2_000, with in 0x20u8..0x7f, which in 0..3) {
        let (initiator, start) = Initiator::begin(persona(1, 1, 1, true), None, Some(secret(7)));
        let mut start = serde_json::to_value(&start).unwrap();
        if which == 0 {
            let Some(bad) = altered(&start, at, with) else { return Ok(()) };
            if bad == start { return Ok(()) }
            start = bad;
        }
        let Ok(start) = Start::parse(start) else { return Ok(()) };
        let Ok((acceptor, answer)) = Acceptor::answer(persona(2, 2, 2, true), &start) else { return Ok(()) };
        let mut answer = serde_json::to_value(&answer).unwrap();
        if which == 1 {
            let Some(bad) = altered(&answer, at, with) else { return Ok(()) };
            if bad == answer { return Ok(()) }
            answer = bad;
        }
        let Ok(answer) = Persona::parse(answer) else { return Ok(()) };
        let Ok((a, reveal)) = initiator.answered(answer) else { return Ok(()) };
        let mut reveal = serde_json::to_value(&reveal).unwrap();
        if which == 2 {
            let Some(bad) = altered(&reveal, at, with) else { return Ok(()) };
            if bad == reveal { return Ok(()) }
            reveal = bad;
        }
        let Ok(reveal) = Reveal::parse(reveal) else { return Ok(()) };
        let Ok(b) = acceptor.revealed(reveal, &secret(7)) else { return Ok(()) };
        // What got this far must be seen by the persons.
        prop_assert_ne!(a.short_string(), b.short_string());
    }

    #[test]
    fn nothing_from_outside_panics(text in "\\PC{0,300}") {
        let value: Value = serde_json::from_str(&text).unwrap_or(Value::String(text.clone()));
        let _ = Start::parse(value.clone());
        let _ = Reveal::parse(value.clone());
        let _ = Persona::parse(value.clone());
        let _ = SignedVerdict::parse(value);
        let _ = text.parse::<PairLink>();
        let _ = format!("clawmesh://pair?{text}").parse::<PairLink>();
    }

    #[test]
    fn the_string_depends_on_every_nonce(a in any::<[u8; 32]>(), b in any::<[u8; 32]>(), c in any::<[u8; 32]>()) {
        prop_assume!(b != c);
        let run = |other: [u8; 32]| {
            let own = Persona::new(&a, key(1).public(), "a", "field", mesh(1), true);
            let theirs = Persona::new(&other, key(2).public(), "b", "field", mesh(1), true);
            let (initiator, start) = Initiator::begin(own, None, None);
            let (_, answer) = Acceptor::answer(theirs, &start).unwrap();
            initiator.answered(answer).unwrap().0.short_string()
        };
        prop_assert_ne!(run(b), run(c));
    }
}

/// The pictures and digits of [`honest`].
const VECTOR: (&str, &str) = (
    "egg pretzel dolphin rainbow magnet penguin banana",
    "301 0683",
);

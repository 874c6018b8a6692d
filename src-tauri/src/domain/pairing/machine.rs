//! The order of things at either end. Each step consumes the one before it; what comes twice, late or
//! out of order finds no step that takes it and ends the pairing.

use super::link::LinkSecret;
use super::mesh::{Joining, joining};
use super::message::{Persona, Reveal, SignedVerdict, Start, Verdict, transcript};
use super::sas::ShortString;
use super::{Side, out_of_order};
use crate::domain::base::{Code, DeviceId, Digest, Refusal};
use crate::domain::identity::DeviceKey;

/// The dialing end: it has committed itself and waits for the answer.
#[derive(Debug)]
pub struct Initiator {
    own: Persona,
    expected: Option<DeviceId>,
    secret: Option<LinkSecret>,
}

impl Initiator {
    /// Begins a pairing. With a link, `expected` is the device that must answer and `secret` what
    /// proves that the link was read.
    pub fn begin(
        own: Persona,
        expected: Option<DeviceId>,
        secret: Option<LinkSecret>,
    ) -> (Self, Start) {
        let start = Start::new(own.commitment());
        let initiator = Self {
            own,
            expected,
            secret,
        };
        (initiator, start)
    }

    /// Takes the acceptor's answer; says what to reveal. Meshes that do not go together are found
    /// by [`Comparison::joining`], after the acceptor has heard enough to find it too.
    ///
    /// # Errors
    /// `PUBLIC_KEY_MISMATCH` if another device answered than the link names, `CONFLICT` if it is this one.
    pub fn answered(self, answer: Persona) -> Result<(Comparison, Reveal), Refusal> {
        let other = answer.device_id();
        if let Some(expected) = self.expected.as_ref().filter(|e| **e != other) {
            return Err(Refusal::new(
                Code::PublicKeyMismatch,
                format!(
                    "device {} answered where the link names {}; check the address, somebody may stand between",
                    other.short(),
                    expected.short()
                ),
            ));
        }
        let transcript = transcript(&self.own, &answer);
        let proof = self.secret.map(|s| s.proof(&transcript));
        let reveal = Reveal {
            persona: self.own.clone(),
            proof,
        };
        let comparison = Comparison::new(Side::Initiator, self.own, answer, transcript)?;
        Ok((comparison, reveal))
    }
}

/// The end with the open window: it has answered and waits for the reveal.
#[derive(Debug)]
pub struct Acceptor {
    own: Persona,
    commitment: Digest,
}

impl Acceptor {
    /// Takes the initiator's first word; the answer is our persona, whose nonce must be fresh.
    ///
    /// # Errors
    /// `INVALID_PARAMS`.
    pub fn answer(own: Persona, start: &Start) -> Result<(Self, Persona), Refusal> {
        let commitment = start.commitment()?;
        let answer = own.clone();
        Ok((Self { own, commitment }, answer))
    }

    /// Takes the reveal, which must be what was committed to.
    ///
    /// # Errors
    /// `AUTH_FAILED` for anything else, or for a proof that the link does not give.
    pub fn revealed(self, reveal: Reveal, secret: &LinkSecret) -> Result<Comparison, Refusal> {
        let Reveal { persona, proof } = reveal;
        if persona.commitment() != self.commitment {
            return Err(Refusal::new(
                Code::AuthFailed,
                "what was revealed is not what was committed to; somebody may stand between",
            ));
        }
        let transcript = transcript(&persona, &self.own);
        if proof.is_some_and(|p| !secret.proves(&p, &transcript)) {
            return Err(Refusal::new(
                Code::AuthFailed,
                "the link that was used is not the one shown now, or somebody stands between",
            ));
        }
        Comparison::new(Side::Acceptor, self.own, persona, transcript)
    }
}

/// Both ends once everything is said: the persons compare and decide.
#[derive(Debug)]
pub struct Comparison {
    side: Side,
    own: Persona,
    peer: Persona,
    transcript: Digest,
    ours: Option<Verdict>,
    theirs: Option<Verdict>,
}

impl Comparison {
    fn new(side: Side, own: Persona, peer: Persona, transcript: Digest) -> Result<Self, Refusal> {
        if own.public_key == peer.public_key {
            return Err(Refusal::new(
                Code::Conflict,
                "this is the same device; a device does not pair with itself",
            ));
        }
        Ok(Self {
            side,
            own,
            peer,
            transcript,
            ours: None,
            theirs: None,
        })
    }

    /// Which end this is.
    pub fn side(&self) -> Side {
        self.side
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Persona {
        &self.peer
    }

    /// What both persons must see alike.
    pub fn short_string(&self) -> ShortString {
        ShortString::of(&self.transcript)
    }

    /// Who moves to which mesh; to be asked before anybody is shown a string.
    ///
    /// # Errors
    /// `MESH_ID_MISMATCH`.
    pub fn joining(&self) -> Result<Joining, Refusal> {
        match self.side {
            Side::Initiator => joining(&self.own, &self.peer),
            Side::Acceptor => joining(&self.peer, &self.own),
        }
    }

    /// Our person decided; the answer goes to the other side. `key` is the one introduced.
    ///
    /// # Errors
    /// `PAIRING_OUT_OF_ORDER` the second time.
    pub fn say(&mut self, verdict: Verdict, key: &DeviceKey) -> Result<SignedVerdict, Refusal> {
        if self.ours.is_some() {
            return Err(out_of_order("a second verdict of ours"));
        }
        self.ours = Some(verdict);
        Ok(SignedVerdict::sign(
            self.side,
            verdict,
            &self.transcript,
            key,
        ))
    }

    /// The other person decided.
    ///
    /// # Errors
    /// `AUTH_FAILED` if the other device did not sign this, `PAIRING_OUT_OF_ORDER` the second time.
    pub fn heard(&mut self, signed: &SignedVerdict) -> Result<Verdict, Refusal> {
        if self.theirs.is_some() {
            return Err(out_of_order("a second verdict of theirs"));
        }
        if !signed.is_of(self.side.other(), &self.transcript, &self.peer.public_key) {
            return Err(Refusal::new(
                Code::AuthFailed,
                "the verdict is not signed by the device that was shown",
            ));
        }
        self.theirs = Some(signed.verdict);
        Ok(signed.verdict)
    }

    /// What our person said.
    pub fn ours(&self) -> Option<Verdict> {
        self.ours
    }

    /// What the other person said.
    pub fn theirs(&self) -> Option<Verdict> {
        self.theirs
    }

    /// Whether both said yes.
    pub fn agreed(&self) -> bool {
        self.ours == Some(Verdict::Yes) && self.theirs == Some(Verdict::Yes)
    }
}

//! Every kind of entry in the audit trail, as a closed list: clients rely on the kinds, and
//! `docs/events.md` is printed from it.

macro_rules! audit_kinds {
    ($($name:ident = $kind:literal, $meaning:literal;)*) => {
        /// The subject of an audit entry.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum AuditKind {
            $(#[doc = $meaning] $name),*
        }

        impl AuditKind {
            /// Every kind there is, in the order of the documentation.
            pub const ALL: &'static [AuditKind] = &[$(AuditKind::$name),*];

            /// The stable name, as it stands in the signed entry.
            pub fn as_str(self) -> &'static str {
                match self { $(AuditKind::$name => $kind),* }
            }

            /// When it is written, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(AuditKind::$name => $meaning),* }
            }
        }
    };
}

audit_kinds! {
    ActionStopped = "action.stopped", "A person stopped an action.";
    ActuatorConfirmed = "actuator.confirmed", "A person at the machine said that an actuator that was left is in its safe state.";
    AlertAcknowledged = "alert.acknowledged", "A person acknowledged an alert.";
    AlertMuted = "alert.muted", "A person muted an alert for a while, or unmuted it.";
    ChannelEnded = "channel.ended", "A channel key was revoked.";
    ChannelEntered = "channel.entered", "The code of an enrolment was entered in a chat, which is a person's from then on.";
    ChannelGiven = "channel.given", "A person gave a node a channel key, with which they decide through a chat.";
    ClockConfirmed = "clock.confirmed", "A person at the machine said that the clock is right.";
    ConsoleClosed = "console.closed", "A session of the console ended.";
    ConsoleOpened = "console.opened", "A browser opened the console.";
    CredentialRemoved = "credential.removed", "A person removed a credential.";
    CredentialSet = "credential.set", "A person set a credential (of a provider, a device or a channel).";
    DecisionApproved = "decision.approve", "A person's signed approval of a proposal counted.";
    DecisionRefused = "decision.refused", "A signed decision about a proposal did not count.";
    DecisionRejected = "decision.reject", "A person's signed rejection of a proposal counted.";
    DevicesReloaded = "devices.reloaded", "The devices of the configuration were changed while the node ran.";
    EstopEngaged = "estop.engaged", "The emergency stop was engaged.";
    EstopReleased = "estop.released", "The emergency stop was released.";
    GatewayAdded = "gateway.added", "A person added a gateway of agents to the node.";
    GatewayChanged = "gateway.changed", "A person renamed, enabled or disabled a gateway.";
    GatewayRemoved = "gateway.removed", "A person removed a gateway.";
    MeshPolicy = "mesh.policy", "A person said how this node takes part in a mesh it found.";
    NodeNamed = "node.named", "The node or its mesh was given a name.";
    OperatorEnrolled = "operator.enrolled", "An operator's key was enrolled.";
    OperatorIssuerAccepted = "operator.issuer.accepted", "Operator records of a device count here from then on.";
    OperatorIssuerRemoved = "operator.issuer.removed", "Operator records of a device do not count here any more.";
    OperatorRevoked = "operator.revoked", "An operator's key was revoked.";
    PersonRevoked = "person.revoked", "Every key of a person was revoked.";
    PlannerPaused = "planner.paused", "The planner of this node was paused.";
    PlannerResumed = "planner.resumed", "The planner of this node went on.";
    PolicyLoaded = "policy.loaded", "A policy came into force.";
    ProposalApproved = "proposal.approved", "As many persons as the rule wants agreed to a proposal.";
    ProposalCompleted = "proposal.completed", "An action was done, and its actuator is back in its safe state.";
    ProposalExecuting = "proposal.executing", "The executor wrote down that it acts, and acts.";
    ProposalExpired = "proposal.expired", "Nobody decided about a proposal in time.";
    ProposalFailed = "proposal.failed", "An action was not done, or not as wanted.";
    ProposalMinted = "proposal.minted", "This executor made a proposal of a draft.";
    ProposalRejected = "proposal.rejected", "A person said no to a proposal.";
    StepBegun = "proposal.step", "A step of a sequence was written ahead, and begins.";
    ProposalSuperseded = "proposal.superseded", "A newer proposal took the place of one, or its state became void.";
    ProposalUnknown = "proposal.unknown", "An action was interrupted; whether it was done is not known.";
    ProposalWithdrawn = "proposal.withdrawn", "Whoever asked for an action took it back.";
    StandingEnded = "standing.ended", "A standing approval ended: it was revoked, ran out, was used up or became void.";
    StandingGiven = "standing.given", "A person gave a standing approval: a signature over an action that may begin several times.";
    StandingUsed = "standing.used", "An action began by a standing approval, and the use was counted.";
    StateConfirmed = "state.confirmed", "A person at the machine said that this state is the one to go on with.";
    StateDoubted = "state.doubted", "The state was found to be older than what this node has done, or its identity in use twice.";
    TrustAdded = "trust.added", "A person trusted a device.";
    TrustGranted = "trust.granted", "A person gave a device grants.";
    TrustPaired = "trust.paired", "A device was trusted by pairing.";
    TrustRemoved = "trust.removed", "A person took a device out of the trust records.";
    TrustRevoked = "trust.revoked", "Trust in a device was revoked.";
    TrustUngranted = "trust.ungranted", "A person took grants from a device.";
}

//! Every kind of event that a node records, as a closed list: clients rely on the kinds, and
//! `docs/events.md` is printed from it.

pub use crate::domain::base::Severity;

macro_rules! events {
    ($($name:ident = $kind:literal, $meaning:literal;)*) => {
        /// What an event is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Event {
            $(#[doc = $meaning] $name),*
        }

        impl Event {
            /// Every event there is, in the order of the documentation.
            pub const ALL: &'static [Event] = &[$(Event::$name),*];

            /// The stable kind, as it stands in the store and in JSON.
            pub fn kind(self) -> &'static str {
                match self { $(Event::$name => $kind),* }
            }

            /// When it is recorded, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Event::$name => $meaning),* }
            }
        }
    };
}

events! {
    Startup = "startup", "The node listens.";
    Shutdown = "shutdown", "The node was told to end; its actuators have been told to go to their safe state.";
    StateDoubted = "state.doubted", "The state is older than what this node has done, or its identity runs twice: it does not operate.";
    SurfaceFailed = "surface.failed", "A surface inside the process, such as a chat, panicked; it is started again.";
    SensorFailed = "sensor.failed", "A sensor gives no readings: it fails, panics or does not answer in time; it is read again by itself.";
    ReadingDoubted = "reading.doubted", "A sensor's reading is not believed; it is published as an unverified observation with the reason.";
    DevicesReloaded = "devices.reloaded", "The configuration was read again while the node runs, and its devices are those of the file now.";
    DevicesRefused = "devices.refused", "The configuration was read again and is refused; the devices stay as they are.";
    StorePruned = "store.pruned", "Old frames were deleted to keep the log within its limit.";
    StoreLost = "store.lost", "Readings were lost with a commit that failed, after they had been taken; conditions count none from before it.";
    AlarmOver = "alarm.over", "A condition that an alarm told of has ended.";
    AlertBegan = "alert.began", "An alert begins that no other event tells of: a rule of the configuration holds, a device is lost, a proposal waits for long, people cannot be told.";
    AlertEnded = "alert.ended", "What an alert was about is over.";
    AlertAcknowledged = "alert.acknowledged", "A person acknowledged an alert: nobody else is told of it.";
    AlertMuted = "alert.muted", "A person muted an alert for a while, or unmuted it.";
    AlertTold = "alert.told", "People were told of alerts, or that they are over.";
    RefusalsCounted = "refusals.counted", "Refusals that were too many to be told one by one, with their number.";
    EventsCounted = "events.counted", "Events about one device or about strangers that were too many to be told one by one, with their number.";

    ProposalCreated = "proposal.created", "This executor minted a proposal from a draft.";
    ProposalDecided = "proposal.decided", "A signed decision about a proposal of this executor was taken.";
    ProposalSuperseded = "proposal.superseded", "A waiting proposal ended because a better entitled or newer one takes its place.";
    ProposalExpired = "proposal.expired", "Nobody decided about a proposal in time.";
    ProposalEnded = "proposal.ended", "An action ended, with its status.";
    ProposalUpdated = "proposal.updated", "A proposal of another executor changed.";
    DraftWaiting = "draft.waiting", "A draft waits because its executor is not connected.";
    DraftRefused = "draft.refused", "The executor refused a draft of this node.";
    WishRefused = "wish.refused", "A wish of the planner that leads was refused here, before any executor was asked.";
    DecisionRefused = "decision.refused", "A decision did not count.";
    RuleFired = "rule.fired", "A rule of this planner asks for an action.";

    ChannelGiven = "channel.given", "A person gave this node a channel key: they can decide through a chat, up to a ceiling.";
    ChannelEntered = "channel.entered", "The code of an enrolment was entered: a chat is a person's now.";
    ChannelEnded = "channel.ended", "A channel key was revoked.";
    ChannelHands = "channel.hands", "A bot changes hands: this node answers it from now on, or does not answer it any more.";
    ChannelRefused = "channel.refused", "Something in a chat was refused.";

    StandingGiven = "standing.given", "A person gave this executor a standing approval.";
    StandingEnded = "standing.ended", "A standing approval of this executor ended: it was revoked, ran out, was used up or became void.";

    ActionStarted = "action.started", "An actuator moves.";
    ActionStopped = "action.stopped", "A person stopped an action.";
    ActuatorUnsafe = "actuator.unsafe", "An actuator could not be brought to its safe state; it is tried again.";
    ActuatorSafe = "actuator.safe", "An actuator that was not safe is safe again.";
    CapabilityRefused = "capability.refused", "A device offers an actuator without the grant for it.";
    CommandRefused = "command.refused", "A command of another device did not become a proposal.";

    EstopEngaged = "estop.engaged", "The emergency stop is engaged: nothing moves until it is released.";
    EstopReleased = "estop.released", "The emergency stop is released.";
    UpdateOffered = "update.offered", "A newer release is offered, signed with the key of the configuration; nothing is installed.";
    EstopLate = "estop.late", "The emergency stop has reached an executor that did not answer it at first.";
    EstopNotStored = "estop.not_stored", "The emergency stop holds, but could not be written to the disk yet.";

    CredentialSet = "credential.set", "A credential (of a provider, a device or a channel) was set.";
    CredentialRemoved = "credential.removed", "A credential was removed.";
    GatewayAdded = "gateway.added", "A person added a gateway of agents to this node.";
    GatewayChanged = "gateway.changed", "A person renamed, enabled or disabled a gateway.";
    GatewayRemoved = "gateway.removed", "A person removed a gateway.";
    GatewayReady = "gateway.ready", "A gateway takes questions.";
    GatewayLost = "gateway.lost", "A gateway that took questions does not any more; it is tried for ever.";
    GatewayPairing = "gateway.pairing", "A gateway waits for a person to let this node in.";
    GatewayRefused = "gateway.refused", "A gateway refuses this node, or is another one than the one that was added.";
    ModelTried = "model.tried", "A person tried the language models with a short text.";

    PlannerPaused = "planner.paused", "The planner of this node is paused.";
    PlannerResumed = "planner.resumed", "The planner of this node goes on.";
    PlannerLeads = "planner.leads", "The planner of this node begins to lead, or stands by for another.";
    PlannerAsked = "planner.asked", "A gen-1 node asked this planner a question.";
    PlannerQueued = "planner.queued", "A question waits until a language model can be asked.";
    PlannerAnswered = "planner.answered", "A language model answered a question that had waited for it.";
    PlannerGivenUp = "planner.given_up", "A question waits for a language model no more, and none has answered it.";
    PlannerMode = "planner.mode", "What the language models can do for this planner changed: active, observing or suspended.";
    PlannerOther = "planner.other", "A gen-1 planner tells of a proposal of its own.";

    PolicyLoaded = "policy.loaded", "A policy is in force.";
    PolicyRefused = "policy.refused", "The policy file has an error; the policy before it stays in force.";

    PeerConnect = "peer.connect", "A link to a trusted device stands.";
    PeerDisconnect = "peer.disconnect", "A link ended.";
    PeerRefused = "peer.refused", "A connection was refused.";
    PeerState = "peer.state", "Where this node stands with a peer changed.";
    PeerSeen = "peer.seen", "A device announces itself on the local network.";
    PeerGone = "peer.gone", "A device on the local network is not seen any more.";
    MeshSeen = "mesh.seen", "A trusted device announces itself for another mesh.";
    DiscoveryCrowded = "discovery.crowded", "More devices announce themselves than are kept.";
    DiscoveryFailed = "discovery.failed", "Discovery on the local network could not start.";

    FrameRefused = "frame.refused", "A context frame was refused.";
    FrameDropped = "frame.dropped", "A context frame is older than what this node keeps.";
    FrameConflict = "frame.conflict", "Two different context frames claim the same id.";
    RecordRefused = "record.refused", "An operator record or a revocation was refused.";
    MessageRefused = "message.refused", "A message was no request, answer or event of the protocol.";
    RequestRefused = "request.refused", "A request of a peer was refused.";
    EventRefused = "event.refused", "An event of a peer was refused.";
    DeviceOverBudget = "device.over-budget", "A device has used up one of its shares.";
    AddressOverBudget = "address.over-budget", "What answers at an address without proof has used up its share.";

    MessageUnanswered = "message.unanswered", "A message to an agent is over and was not answered.";
    RoutingChanged = "routing.changed", "A person changed the rules by which messages find a node.";

    TrustAdded = "trust.added", "A person trusts a device.";
    TrustRemoved = "trust.removed", "A person took a device out of the trust records.";
    TrustGranted = "trust.granted", "A person gave a device grants.";
    TrustUngranted = "trust.ungranted", "A person took grants from a device.";
    TrustRevoked = "trust.revoked", "Trust in a device is revoked.";

    PairWindow = "pair.window", "Pairing was opened or closed.";
    PairStarted = "pair.started", "Two devices begin to pair.";
    PairSas = "pair.sas", "The code that two persons compare is shown.";
    PairConfirmed = "pair.confirmed", "Two devices are paired.";
    PairFailed = "pair.failed", "A pairing ended without trust.";
    PairRefused = "pair.refused", "A request to pair was refused.";

    OperatorEnrolled = "operator.enrolled", "An operator's key is enrolled.";
    OperatorRevoked = "operator.revoked", "An operator's key is revoked.";
    OperatorAsked = "operator.asked", "A key asks to be enrolled.";
    OperatorDeclined = "operator.declined", "An administrator declined a key that asked.";
    OperatorNotAccepted = "operator.not_accepted", "Operator records of an issuer that nobody here has accepted came in.";
    OperatorIssuerAccepted = "operator.issuer.accepted", "Operator records of a device count here from now on.";
    OperatorIssuerRemoved = "operator.issuer.removed", "Operator records of a device do not count here any more.";
    PassphraseWrong = "passphrase.wrong", "A wrong passphrase was given for an operator's key.";

    PushBegan = "push.began", "A phone is told of alerts and proposals by push from now on.";
    PushEnded = "push.ended", "A phone is told nothing by push any more: it was turned off, another session has taken its browser over, or its push service says that the subscription has ended.";
    ConsoleOpened = "console.opened", "A browser opened the console.";
    ConsoleClosed = "console.closed", "A session of the console ended.";
    ConsoleServed = "console.served", "The console is open for browsers of other machines, or has a new certificate there.";
    ConsoleRefused = "console.refused", "A link or a session of the console did not open.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_there_once_and_written_alike() {
        let mut kinds: Vec<&str> = Event::ALL.iter().map(|e| e.kind()).collect();
        let plain = |k: &&str| {
            k.chars()
                .all(|c| c.is_ascii_lowercase() || ".-_".contains(c))
        };
        assert!(kinds.iter().all(plain), "{kinds:?}");
        let all = kinds.len();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), all);
        assert!(Event::ALL.iter().all(|e| e.meaning().ends_with('.')));
    }
}

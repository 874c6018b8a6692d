//! Every limit in one place, units last. A limit that is reached is reported, never silent.

mod camera;
mod chats;
mod gateways;
mod gen1;
mod gpio;
mod mcp;
mod messages;
mod modbus;
mod models;
mod planner;
mod private;
mod serial;

pub use self::camera::*;
pub use self::chats::*;
pub use self::gateways::*;
pub use self::gen1::*;
pub use self::gpio::*;
pub use self::mcp::*;
pub use self::messages::*;
pub use self::modbus::*;
pub use self::models::*;
pub use self::planner::*;
pub use self::private::*;
pub use self::serial::*;

/// Largest WebSocket text message, in bytes (gen-1 §2).
pub const MESSAGE_MAX_BYTES: usize = 1_048_576;
/// Largest `data` of a context frame in canonical form, in bytes (gen-1 §2).
pub const FRAME_DATA_MAX_BYTES: usize = 524_288;
/// Deepest nesting of any JSON we parse.
pub const JSON_MAX_DEPTH: usize = 64;
/// Longest `note`, `reason` or display text that we store, in characters.
pub const TEXT_MAX_CHARS: usize = 2_000;
/// Longest id or name taken from outside, in bytes.
pub const NAME_MAX_BYTES: usize = 128;
/// Most capabilities a peer may advertise.
pub const CAPABILITIES_MAX: usize = 256;
/// Most evidence sources or taints in one trust block.
pub const TRUST_LIST_MAX: usize = 16;
/// Largest clock difference a handshake tolerates, in milliseconds (gen-1 §5.2).
pub const HANDSHAKE_SKEW_MAX_MS: u64 = 300_000;
/// How long a handshake nonce stays valid, in milliseconds (gen-1 §5.2).
pub const NONCE_TTL_MS: u64 = 60_000;
/// How far ahead a frame may claim to be before its receipt time counts instead, in milliseconds.
pub const FRAME_FUTURE_MAX_MS: u64 = 300_000;
/// How old or how far ahead a command's `createdAtMs` may be, in milliseconds.
pub const COMMAND_AGE_MAX_MS: u64 = 300_000;
/// How long an approval may be on its way, by the executor's clock, in milliseconds.
pub const DECISION_VALID_MS: u64 = 300_000;
/// How far the clock of the machine on which a person signs may be ahead of the executor's, in milliseconds.
pub const SIGNER_AHEAD_MAX_MS: u64 = 60_000;
/// Decisions of one operator about one proposal that are remembered as used; further ones are refused.
pub const DECISIONS_USED_MAX: u64 = 64;
/// Decisions refused while nothing could be written that are remembered one by one.
pub const DECISIONS_UNRECORDED_MAX: usize = 256;
/// How long a used decision is remembered, in milliseconds: far longer than it is valid.
pub const DECISIONS_USED_KEPT_MS: u64 = 24 * 3_600_000;
/// How long a channel key may count after it was given, in milliseconds.
pub const CHANNEL_MAX_MS: u64 = 90 * 24 * 3_600_000;
/// Approvals through channels of one operator key that may count in an hour, at most, whatever the record says.
pub const CHANNEL_ACTIONS_PER_HOUR_MAX: u32 = 60;
/// The time in which approvals through channels are counted, in milliseconds.
pub const CHANNEL_WINDOW_MS: u64 = 3_600_000;
/// Channel keys that one node holds at a time.
pub const CHANNELS_MAX: u64 = 64;
/// How long the code of an enrolment counts, in milliseconds.
pub const CHANNEL_CODE_TTL_MS: u64 = 600_000;
/// Codes of enrolments that wait at a time.
pub const CHANNEL_CODES_MAX: usize = 8;
/// Wrong codes that may be entered before every code that waits is forgotten.
pub const CHANNEL_CODE_TRIES_MAX: u32 = 10;
/// Wrong codes that one account may enter in an hour.
pub const CHANNEL_ACCOUNT_TRIES_MAX: u32 = 3;
/// Accounts whose wrong codes are counted at a time; while there are more, no code of another account is taken.
pub const CHANNEL_ACCOUNTS_WATCHED_MAX: usize = 1_024;
/// How long a standing approval may count after it was given, in milliseconds.
pub const STANDING_MAX_MS: u64 = 7 * 24 * 3_600_000;
/// How often a standing approval may be used.
pub const STANDING_USES_MAX: u32 = 100;
/// Standing approvals that count at one executor at a time.
pub const STANDING_PER_EXECUTOR_MAX: u64 = 128;
/// As [`STANDING_PER_EXECUTOR_MAX`], of one person.
pub const STANDING_PER_PERSON_MAX: u64 = 32;
/// Ended standing approvals that a list has, beside those that count.
pub const STANDING_ENDED_SHOWN: usize = 50;
/// Uses of a standing approval that are shown with it, the last ones.
pub const STANDING_USES_SHOWN: usize = 10;
/// A list of standing approvals, in bytes: with [`STANDING_OFFERS_MAX_BYTES`] it fits in one message.
pub const STANDING_LIST_MAX_BYTES: usize = MESSAGE_MAX_BYTES / 2;
/// The list of what may be approved ahead of time, in bytes.
pub const STANDING_OFFERS_MAX_BYTES: usize = MESSAGE_MAX_BYTES / 4;
/// How far our clock may lie behind the newest time we have persisted before we stop operating.
pub const CLOCK_BEHIND_MAX_MS: u64 = 60_000;
/// A clock that is further ahead of what was expected than this has jumped.
pub const CLOCK_JUMP_MS: u64 = 3_600_000;
/// How long a clock must stand where it jumped to before that time is persisted, in milliseconds.
pub const CLOCK_SETTLE_MS: u64 = 600_000;
/// Largest configuration file that goes into a backup, in bytes.
pub const BACKUP_FILE_MAX_BYTES: u64 = 4_194_304;
/// Largest file that says how far a store has come, in bytes.
pub const MARK_FILE_MAX_BYTES: u64 = 4_096;
/// How long a code that is shown at the executor is good, in milliseconds.
pub const AT_NODE_VALID_MS: u64 = 300_000;
/// Wrong codes after which none is taken for a proposal.
pub const AT_NODE_TRIES: u32 = 5;
/// Wrong codes within an hour after which none is taken at this node.
pub const AT_NODE_WRONG_PER_HOUR: usize = 20;
/// Proposals that have a code at once: of each device that asked its oldest first.
pub const AT_NODE_CODES_MAX: usize = 8;
/// How long an action waits for the mark outside the state directory before it is not begun, in
/// milliseconds.
pub const MARK_WAIT_MS: u64 = 2_000;
/// How many writes of the mark outside may be under way where its folder does not answer.
pub const MARKS_WAITING_MAX: usize = 4;
/// How far the count of own frames skips where a person says which state is the real one.
pub const CONFIRM_SKIP_FRAMES: u64 = 1 << 32;
/// What counts as the time a node was off where its clock cannot tell, in milliseconds.
pub const UNKNOWN_GAP_MS: u64 = 86_400_000;
/// How long an unauthenticated socket may take to complete `mesh.connect`, in milliseconds.
pub const HANDSHAKE_DEADLINE_MS: u64 = 10_000;
/// Largest message of a socket that has not authenticated, in bytes.
pub const STRANGER_MESSAGE_MAX_BYTES: usize = 65_536;
/// Most unauthenticated peer sockets; the oldest is closed to make room for a new one.
pub const UNAUTHENTICATED_SOCKETS_MAX: usize = 384;
/// Files and sockets that a node wants to be allowed to have open at once.
pub const DESCRIPTORS_WANTED: u64 = 8_192;
/// Most authenticated peer sessions.
pub const SESSIONS_MAX: usize = 256;
/// Messages a link may have waiting in each of its lanes for answers and for our own requests.
pub const LINK_OUTBOX_MAX: usize = 256;
/// Messages with frames a link may have waiting.
pub const LINK_BULK_MAX: usize = 4;
/// What a link may have waiting of answers and our own requests together, in KiB.
pub const LINK_QUEUED_MAX_KIB: usize = 8_192;
/// Lists of wanted frames a link's feeder may have waiting.
pub const LINK_WANTED_MAX: usize = 16;
/// Most frames in one list of wanted frames.
pub const WANTED_MAX: usize = 1_024;
/// What a peer may send of frames before the first are stored, in KiB.
pub const CREDIT_WINDOW_KIB: u32 = 4_096;
/// Most frames in one `context.frames` message.
pub const FRAMES_PER_MESSAGE_MAX: usize = 256;
/// A `context.frames` message is sent once it holds this much, in bytes.
pub const FRAMES_MESSAGE_BYTES: usize = 131_072;
/// Frames read from the log at once to be sent on, in bytes of their text; one frame in any case.
pub const FRAMES_READ_BYTES: usize = 262_144;
/// The newest frames that are kept in memory for the links.
pub const RECENT_FRAMES_MAX: usize = 4_096;
/// As [`RECENT_FRAMES_MAX`], in bytes of their text together.
pub const RECENT_FRAMES_BYTES: usize = 4_194_304;
/// The frames of one page that a program of this machine asks for, in bytes of their text.
pub const FRAMES_PAGE_BYTES: usize = 4_194_304;
/// Frames waiting between the links and the ingress task.
pub const INGRESS_QUEUE_MAX: usize = 4_096;
/// Frames verified, admitted and stored as one batch.
pub const INGRESS_BATCH_MAX: usize = 512;
/// Good signatures that are remembered, so that further copies of a frame are not checked again.
pub const SIGNATURES_REMEMBERED_MAX: usize = 16_384;
/// Frames that are stored together in any case, before durable writes that wait get their turn.
pub const LEDGER_PART_MIN: usize = 8;
/// Writes waiting for the store's writer.
pub const STORE_QUEUE_MAX: usize = 1_024;
/// Writes committed as one transaction.
pub const STORE_BATCH_MAX: usize = 512;
/// How long readings gather before they are committed together, in milliseconds. A crash may take as much.
pub const STORE_GATHER_MS: u64 = 10_000;
/// Writes that gather before they are committed in any case.
pub const STORE_GATHERED_MAX: usize = 1_024;
/// Frames that may gather as one write; more of them are committed by themselves.
pub const STORE_GATHER_FRAMES: usize = 64;
/// Connections in the store's reader pool.
pub const STORE_READERS: usize = 4;
/// How long a request to a peer may take, in milliseconds.
pub const PEER_REQUEST_TIMEOUT_MS: u64 = 10_000;
/// Requests to one peer that may be waiting for an answer.
pub const PEER_REQUESTS_MAX: usize = 64;
/// Rows a query returns when the caller names no limit.
pub const QUERY_DEFAULT: usize = 50;
/// Most rows a query returns.
pub const QUERY_MAX: usize = 1_000;
/// Largest file of given names, in bytes.
pub const NAMES_FILE_MAX_BYTES: u64 = 4_096;
/// Longest line of an audit export, in bytes.
pub const AUDIT_LINE_MAX_BYTES: u64 = 1_048_576;
/// How long a proposal waits for its approval by default, in milliseconds.
pub const PROPOSAL_TTL_MS: u64 = 1_800_000;
/// Proposals asked for at this node itself, by its persons and rules, that may wait for approval.
pub const PROPOSALS_WAITING_MAX: u64 = 1_000;
/// How long a draft waits for its executor by default, in milliseconds.
pub const DRAFT_TTL_MS: u64 = 600_000;
/// Most drafts waiting for an unreachable executor.
pub const DRAFTS_WAITING_MAX: usize = 256;
/// Most frames a draft may cite.
pub const EVIDENCE_MAX: usize = 16;
/// Most readings that the policy looks at and that a proposal shows beside the cited ones.
pub const EVIDENCE_WATCHED_MAX: usize = 8;
/// Longest summary of a piece of evidence, in characters.
pub const EVIDENCE_SUMMARY_MAX_CHARS: usize = 200;
/// Most devices that a refusal of an ambiguous cite names.
pub const CITED_ORIGINS_SHOWN: usize = 4;
/// Most parameters of an operation.
pub const PARAMS_MAX: usize = 16;
/// Longest time any actuation may last, in milliseconds, whatever the policy says.
pub const ACTUATION_MAX_MS: u64 = 24 * 3_600_000;
/// Longest time a set-point may stay, in milliseconds, whatever the policy says.
pub const SET_MAX_MS: u64 = 7 * 24 * 3_600_000;
/// Longest pause between two changes of a set-point that a policy may ask for, in milliseconds.
pub const SET_INTERVAL_MAX_MS: u64 = 24 * 3_600_000;
/// The shortest pulse of an actuator, in milliseconds: shorter ones cannot be timed well here.
pub const PULSE_MIN_MS: u64 = 50;
/// The longest pulse of an actuator, in milliseconds.
pub const PULSE_MAX_MS: u64 = 60_000;
/// The shortest lease of a held action, in milliseconds.
pub const LEASE_HELD_MIN_MS: u64 = 2_000;
/// The longest lease of a held action, in milliseconds.
pub const LEASE_HELD_MAX_MS: u64 = 60_000;
/// Renewals of held actions that a device may send in a second.
pub const HOLDS_PER_SECOND: u64 = 50;
/// As [`HOLDS_PER_SECOND`], of a program or session at this node, also where they go on to another executor.
pub const HOLDS_AT_DOOR_PER_SECOND: u64 = 25;
/// Devices, programs and sessions of which renewals are counted at a time.
pub const RENEWERS_MAX: usize = 4 * PEERS_MAX;
/// Longest token by which keepers of one source are told apart, in bytes.
pub const HOLDER_MAX_BYTES: usize = 64;
/// How often the rules planner renews what it keeps, in milliseconds; less than half of the shortest lease.
pub const HOLD_RULES_EVERY_MS: u64 = 500;
/// Oldest operator record an executor accepts without having heard of it again, in milliseconds.
pub const OPERATOR_RECORD_MAX_AGE_MS: u64 = 365 * 24 * 3_600_000;
/// Largest HTTP request body, in bytes.
pub const HTTP_BODY_MAX_BYTES: usize = 262_144;
/// How long a one-time link to the console can be opened, in milliseconds.
pub const CONSOLE_LINK_TTL_MS: u64 = 120_000;
/// Most one-time links to the console of one maker that wait to be opened; its oldest makes room.
pub const CONSOLE_LINKS_MAX: usize = 16;
/// How long a browser session lasts, in milliseconds.
pub const BROWSER_SESSION_TTL_MS: u64 = 12 * 3_600_000;
/// How long a browser session lasts without a request, in milliseconds.
pub const BROWSER_SESSION_IDLE_MS: u64 = 3_600_000;
/// Most browser sessions by links of one maker; the one unused for longest makes room.
pub const BROWSER_SESSIONS_MAX: usize = 64;
/// How long a one-time link to the console of another machine can be opened, in milliseconds.
pub const AWAY_LINK_TTL_MS: u64 = 600_000;
/// How long a session of a browser of another machine lasts, in milliseconds.
pub const AWAY_SESSION_TTL_MS: u64 = 30 * 86_400_000;
/// How long such a session lasts without a request, in milliseconds.
pub const AWAY_SESSION_IDLE_MS: u64 = 7 * 86_400_000;
/// How much newer the last use of such a session is than what is on disk before that is written again, in milliseconds.
pub const AWAY_SESSION_NOTED_MS: u64 = 6 * 3_600_000;
/// Most sessions of browsers of other machines by links of one maker; another waits until one is ended.
pub const AWAY_SESSIONS_MAX: usize = 16;
/// Largest file of such sessions that is read, in bytes.
pub const AWAY_SESSIONS_FILE_MAX_BYTES: u64 = 262_144;
/// Wrong one-time codes of one address within a minute after which its codes are not looked at.
pub const AWAY_GUESSES_MAX: usize = 10;
/// Most addresses whose wrong codes are counted.
pub const AWAY_GUESSERS_MAX: usize = 256;
/// Most names under which browsers of other machines reach the console.
pub const AWAY_HOSTS_MAX: usize = 16;
/// Most connections to the console of other machines that have not authenticated.
pub const AWAY_STRANGERS_MAX: usize = 64;
/// Most connections to it.
pub const AWAY_CONNECTIONS_MAX: usize = 256;
/// Most connections to it of one session. A browser makes six.
pub const AWAY_CONNECTIONS_OF_SESSION_MAX: usize = 12;
/// Most connections to it of one address.
pub const AWAY_CONNECTIONS_OF_ADDRESS_MAX: usize = 32;
/// Most addresses whose connections are counted.
pub const AWAY_ADDRESSES_MAX: usize = 1_024;
/// Most connections that an address makes to it at once.
pub const AWAY_CONNECTS_AT_ONCE: u64 = 60;
/// After how long it may make one more, in milliseconds.
pub const AWAY_CONNECTS_EVERY_MS: u64 = 200;
/// Largest file of a certificate or its key, in bytes.
pub const CERTIFICATE_FILE_MAX_BYTES: u64 = 65_536;
/// How often the files of the console's certificate are looked at, in milliseconds.
pub const CERTIFICATE_LOOK_MS: u64 = 3_000;
/// How long before it ends a certificate is an alarm, in milliseconds.
pub const CERTIFICATE_ENDS_SOON_MS: u64 = 7 * 86_400_000;
/// How long a key made in a browser waits for an administrator, in milliseconds.
pub const ENROL_REQUEST_TTL_MS: u64 = 600_000;
/// Most keys that wait for an administrator.
pub const ENROL_REQUESTS_MAX: usize = 64;
/// Most of them of one session or token; its oldest gives way.
pub const ENROL_REQUESTS_OF_ONE_MAX: usize = 2;
/// Links that failed to open within a minute before further failures are answered briefly.
pub const CONSOLE_FAILURES_MAX: usize = 10;
/// Shortest passphrase that protects an operator key, in characters.
pub const PASSPHRASE_MIN_CHARS: usize = 8;
/// Longest passphrase, in bytes.
pub const PASSPHRASE_MAX_BYTES: usize = 1_024;
/// Wrong passphrases in a row after which the node waits before it tries another.
pub const PASSPHRASE_TRIES_MAX: u32 = 5;
/// How long it waits then, in milliseconds.
pub const PASSPHRASE_PAUSE_MS: u64 = 60_000;
/// How often an idle actuator is asked whether it still is in its safe state, in milliseconds.
pub const ASTRAY_LOOK_EVERY_MS: u64 = 10_000;
/// After how long it is asked again before that is told, in milliseconds.
pub const ASTRAY_LOOK_TWICE_MS: u64 = 1_000;
/// Most emergency stops of other nodes of which it is remembered that they were carried out here.
pub const ESTOPS_KNOWN_MAX: usize = 64;
/// For how long executors that did not answer an emergency stop are asked again, in milliseconds.
pub const ESTOP_ASKED_AGAIN_MS: u64 = 600_000;
/// How often, in milliseconds.
pub const ESTOP_ASKED_AGAIN_EVERY_MS: u64 = 2_000;
/// How long each step of an emergency stop waits before it answers without it, in milliseconds.
pub const ESTOP_WAIT_MAX_MS: u64 = 2_500;
/// The longest one attempt to bring an actuator to its safe state may take before it counts as
/// failed, in milliseconds; a driver with a time limit of its own sets another.
pub const SAFE_ATTEMPT_MAX_MS: u64 = 30_000;
/// How long an attempt to make an actuator safe goes on before the alarm is raised, in milliseconds.
pub const SAFE_ALARM_AFTER_MS: u64 = 10_000;
/// The first pause before making safe is tried again, in milliseconds; each further one is twice as
/// long.
pub const SAFE_PAUSE_FIRST_MS: u64 = 200;
/// The longest pause before making safe is tried again, in milliseconds.
pub const SAFE_PAUSE_MAX_MS: u64 = 30_000;
/// Failed attempts to make an actuator safe after which the outcome of its run is written.
pub const SAFE_TRIES_OUTCOME: u32 = 5;
/// How far a run may last beyond its deadline and still count as completed, in milliseconds.
pub const OVERRUN_MAX_MS: u64 = 1_000;
/// How often a running deadline is compared with the boot clock, in milliseconds: timers stand still
/// while the machine is suspended.
pub const DEADLINE_LOOK_MS: u64 = 250;
/// How long a start waits for every actuator to be safe before the node listens without it, in
/// milliseconds.
pub const SAFE_AT_START_MS: u64 = 5_000;
/// How long a link to a gen-1 node stays open after the trust in it ended, for its actuators to be made
/// safe over it, in milliseconds.
pub const SAFE_AFTER_TRUST_MAX_MS: u64 = 5_000;
/// How long a driver may take to say where its actuator stands, in milliseconds.
pub const POSITION_WAIT_MS: u64 = 1_000;
/// How often somebody may have a sensor looked at between its own readings, in milliseconds.
pub const SENSOR_LOOK_EVERY_MS: u64 = 1_000;
/// Runs that wait for one actuator's guard.
pub const GUARD_RUNS_MAX: usize = 4;
/// Reports of all guards that wait to be recorded; later ones are dropped, what they report stays
/// visible as an alarm or an outcome.
pub const GUARD_REPORTS_MAX: usize = 256;
/// How often a node tells the mesh about itself, in milliseconds.
pub const PRESENCE_EVERY_MS: u64 = 60_000;
/// Largest `data` of a presence frame, in bytes.
pub const PRESENCE_MAX_BYTES: usize = 4_000;
/// Most nodes a view of the mesh shows.
pub const TOPOLOGY_NODES_MAX: usize = 2_000;
/// Most points of a line in a time series.
pub const SERIES_POINTS_MAX: usize = 2_000;
/// Most samples looked at for a time series; the newest ones.
pub const SERIES_SAMPLES_MAX: usize = 200_000;
/// How far back a time series goes where nobody says, in milliseconds.
pub const SERIES_SPAN_DEFAULT_MS: u64 = 3_600_000;
/// How many lines of a configuration that does not read may make up one list of devices that is given as a value.
pub const RESCUE_INLINE_LINES: usize = 200;
/// Names that look the same: how many groups of them an alarm names.
pub const NAMES_ALIKE_SHOWN: usize = 3;
/// Largest copy of the list of actuators that were moved, in bytes.
pub const MOVED_FILE_MAX_BYTES: u64 = 262_144;
/// How much of a configuration file is looked through for actuators where a start is refused, in bytes.
pub const RESCUE_FILE_MAX_BYTES: u64 = 4 * 1_048_576;
/// Largest policy or configuration file, in bytes.
pub const CONFIG_FILE_MAX_BYTES: u64 = 1_048_576;
/// Events kept in the event log.
pub const EVENTS_KEPT: u64 = 10_000;
/// Events kept of what one device caused, or strangers together did; of warnings as many again.
pub const EVENTS_KEPT_OF_OTHERS: u64 = 1_000;
/// How long a graceful shutdown may take, in milliseconds.
pub const SHUTDOWN_DEADLINE_MS: u64 = 5_000;
/// The longest that the end of a node waits for an actuator whose way to its safe state takes long, in
/// milliseconds; a service manager usually waits 90 s before it kills.
pub const SAFE_BEFORE_END_MAX_MS: u64 = 75_000;
/// Reads that may wait for a connection of the store's reader pool.
pub const STORE_READS_WAITING_MAX: usize = 256;
/// How long the store waits for another process that holds the database, in milliseconds.
pub const STORE_BUSY_MS: u64 = 5_000;
/// Old frames removed by one pruning, so that no write waits long behind it.
pub const FRAMES_PRUNED_MAX: u64 = 2_000;
/// Frames that the log may have beyond what is kept, so that old ones go many at a time.
pub const PRUNE_EASE_FRAMES: u64 = 4_096;
/// Steps of [`FRAMES_PRUNED_MAX`] frames that one look at the log prunes.
pub const PRUNE_STEPS_MAX: u64 = 200;
/// How often the ages of frames and old readings are looked at, in milliseconds.
pub const PRUNE_EVERY_MS: u64 = 3_600_000;
/// How many frames are kept where nothing else is configured.
pub const KEEP_FRAMES: u64 = 2_000_000;
/// The fewest frames that may be kept.
pub const KEEP_FRAMES_MIN: u64 = 1_000;
/// For how many days readings are kept one by one, where nothing else is configured.
pub const READINGS_KEPT_DAYS: u64 = 90;
/// The same of events, answers and what people and models said.
pub const OTHER_KEPT_DAYS: u64 = 400;
/// The same of old readings by the hour.
pub const HISTORY_KEPT_DAYS: u64 = 1_830;
/// The fewest days that may be configured for any of these.
pub const DAYS_KEPT_MIN: u64 = 1;
/// The most.
pub const DAYS_KEPT_MAX: u64 = 36_500;
/// How much age one look at the ages of frames and old readings goes beyond the oldest, in milliseconds.
pub const AGED_AT_ONCE_MS: u64 = 24 * 3_600_000;
/// Series of old readings that one device may have here.
pub const HISTORY_SERIES_PER_DEVICE: u64 = 1_000;
/// Hours of old readings that one device may have here, over all its series; one takes some 50 bytes.
pub const HISTORY_HOURS_PER_DEVICE: u64 = 500_000;
/// Hours of old readings that are looked at for one answer.
pub const HISTORY_HOURS_MAX: usize = 200_000;
/// Conflicting frames of one device that are kept for one frame id.
pub const FRAME_CONFLICTS_PER_ID_MAX: u64 = 8;
/// Largest message of a reconciliation before its encoding, in bytes.
pub const RECONCILE_MESSAGE_BYTES: usize = 600_000;
/// Most rounds of one reconciliation.
pub const RECONCILE_ROUNDS_MAX: u32 = 64;
/// Differences after which a reconciliation stops looking and lets the frames travel first.
pub const RECONCILE_DIFFERENCES_MAX: usize = 50_000;
/// Pause between two reconciliations with a peer that has all we have, in milliseconds.
pub const RECONCILE_EVERY_MS: u64 = 60_000;
/// Rounds a peer may ask of us in a minute.
pub const RECONCILE_ANSWERS_PER_MINUTE: u32 = 600;
/// How long a pairing window stays open, in milliseconds.
pub const PAIRING_WINDOW_MS: u64 = 300_000;
/// Pairings that one address may begin in one window without having read the window's link.
pub const PAIRING_TRIES: u32 = 3;
/// As [`PAIRING_TRIES`], by all addresses together.
pub const PAIRING_TRIES_TOTAL: u32 = 15;
/// Strangers of one address that have asked to pair and not yet said who they are.
pub const PAIRING_WAITING_PER_ADDRESS_MAX: usize = 2;
/// As [`PAIRING_WAITING_PER_ADDRESS_MAX`], of all addresses together.
pub const PAIRING_WAITING_MAX: usize = 32;
/// Updates of other executors' proposals that the disk refused and that are tried again.
pub const MIRRORS_OWED_MAX: usize = 64;
/// How long the first of those tries waits, in milliseconds; each waits twice as long as the one before.
pub const MIRROR_RETRY_FIRST_MS: u64 = 500;
/// The longest of those waits, in milliseconds.
pub const MIRROR_RETRY_MAX_MS: u64 = 10_000;
/// How long refusals of one kind are counted before the next of them becomes an event, in milliseconds;
/// twice as long each time they go on, up to the longest.
pub const REFUSAL_REPEAT_MS: u64 = 60_000;
/// The longest of those times, in milliseconds.
pub const REFUSAL_REPEAT_MAX_MS: u64 = 3_600_000;
/// Refusals of different kinds or subjects on one account that become events in a minute; the rest is
/// counted.
pub const REFUSALS_PER_MINUTE: u32 = 30;
/// Kinds and subjects of refusals on one account that are remembered in order to count what repeats.
pub const REFUSALS_KNOWN_MAX: usize = 64;
/// Different reasons of one kind, code and subject that become events before the rest is counted.
pub const REFUSAL_REASONS_MAX: usize = 16;
/// Longest reason that is told apart from others, in characters.
pub const REFUSAL_REASON_CHARS: usize = 200;
/// Longest subject of a refusal that is told apart from others, in characters.
pub const REFUSAL_SUBJECT_CHARS: usize = 128;
/// Events a slow listener may lag behind before it must read the store instead.
pub const EVENT_LAG_MAX: usize = 256;
/// Most of a line of the configuration that is shown where it is wrong, in characters.
pub const CONFIG_LINE_SHOWN_CHARS: usize = 160;
/// Persons who may hold the planner at once; each has a reason of their own.
pub const PAUSE_HOLDERS_MAX: usize = 8;
/// How often a person is asked to compare before what is no answer counts as no.
pub const PAIR_ASKS_MAX: u32 = 3;
/// Largest message of a pairing, in bytes.
pub const PAIRING_MESSAGE_BYTES: usize = 4_096;
/// Longest name or mesh shown from the other side of a pairing, in characters.
pub const PAIRING_NAME_CHARS: usize = 64;
/// How long the other side of a pairing may take where no person is asked, in milliseconds.
pub const PAIRING_STEP_MS: u64 = 10_000;
/// Peers a node learns by pairing and dials again after a restart.
pub const LEARNED_PEERS_MAX: usize = 256;
/// Longest pause between two pings on a link, in milliseconds. It is the default; the configuration can
/// only shorten it.
pub const PING_EVERY_MS: u64 = 15_000;
/// Shortest pause between two pings on a link, in milliseconds.
pub const PING_EVERY_MIN_MS: u64 = 1_500;
/// Which part of the pause between two pings an answer may take.
pub const PING_WAIT_PART: u64 = 3;
/// Most devices this node keeps an eye on as peers.
pub const PEERS_MAX: usize = 512;
/// Most addresses kept for one device.
pub const PEER_TARGETS_MAX: usize = 16;
/// Most nodes on the LAN that are remembered.
pub const NEARBY_MAX: usize = 1_024;
/// Most services on the LAN that claim to be one device.
pub const NEARBY_SERVICES_PER_DEVICE_MAX: usize = 4;
/// Most addresses of one node on the LAN.
pub const NEARBY_ADDRESSES_MAX: usize = 8;
/// Largest record of an issuer, in bytes.
pub const RECORD_MAX_BYTES: usize = 16_384;
/// Most records in one message.
pub const RECORDS_PER_MESSAGE_MAX: usize = 200;
/// How often an issuer confirms what it has issued, in milliseconds.
pub const CONFIRM_EVERY_MS: u64 = 6 * 3_600_000;
/// How long an operator known through another device may approve without that device having
/// confirmed its records, in milliseconds.
pub const OPERATOR_CONFIRM_MAX_AGE_MS: u64 = 30 * 24 * 3_600_000;
/// Messages about records that a peer may send in a minute: more than all there can be.
pub const RECORDS_MESSAGES_PER_MINUTE: u32 = 600;
/// How long a request of the desktop window may take in all, in milliseconds.
pub const WINDOW_REQUEST_MS: u64 = 25_000;
/// Largest answer carried into the desktop window, in bytes.
pub const WINDOW_ANSWER_MAX_BYTES: usize = 33_554_432;
/// How long events for the desktop window are gathered before they are sent, in milliseconds.
pub const WINDOW_BATCH_MS: u64 = 12;
/// Size at which gathered events are sent at once, in bytes.
pub const WINDOW_BATCH_BYTES: usize = 262_144;
/// Batches on their way to a page that has not said it has taken them.
pub const WINDOW_BATCHES_WAITING_MAX: u64 = 16;
/// How long a page may take nothing before its stream ends and it has to read all again, in milliseconds.
pub const WINDOW_BLOCKED_MS: u64 = 15_000;
/// How long a press that approves must have been held, in milliseconds; the page asks for a little more.
pub const WINDOW_HOLD_MS: u64 = 1_400;
/// How long ago a press may be to count for a change asked for by the page, in milliseconds.
pub const WINDOW_PRESS_MS: u64 = 15_000;
/// How long ago a press may be to count for a signature, in milliseconds.
pub const WINDOW_SIGN_MS: u64 = 3_000;
/// Proposals shown one by one in the tray and in notifications.
pub const TRAY_PROPOSALS_MAX: usize = 8;
/// Nodes shown one by one in the tray.
pub const TRAY_NODES_MAX: usize = 20;
/// How long changes are gathered before tray and notifications follow, in milliseconds.
pub const TRAY_SETTLE_MS: u64 = 100;
/// How long the session bus may take to say whether a tray is there, in milliseconds.
pub const TRAY_ASK_MS: u64 = 1_500;
/// How often it is asked, in milliseconds.
pub const TRAY_LOOK_MS: u64 = 3_000;
/// How long a hidden window may be without a tray that leads to it, in milliseconds: panels start late.
pub const TRAY_GRACE_MS: u64 = 10_000;
/// How long the tray's emergency stop waits for a node that is just starting, in milliseconds.
pub const WINDOW_STOP_MS: u64 = 5_000;
/// How long the application waits for its node to end before it ends without it, in milliseconds.
pub const WINDOW_END_MS: u64 = 2 * SHUTDOWN_DEADLINE_MS;
/// How long it then waits for its notifications to be taken off the screen, in milliseconds.
pub const WINDOW_FAREWELL_MS: u64 = 1_000;
/// How long the notification daemon may take to show one, in milliseconds.
pub const NOTIFY_MS: u64 = 5_000;
/// Addresses seen on the LAN that are kept for one device.
pub const PEER_SEEN_MAX: usize = 4;
/// Messages a socket may send before it has authenticated.
pub const STRANGER_MESSAGES_MAX: usize = 32;
/// Addresses of one device that are dialed. More than `peers` keeps would push each other out again
/// and again, and every one would look new and end the wait between two attempts.
pub const NEARBY_DIALED_MAX: usize = 4;
/// Accepted sockets waiting for their session to start.
pub const ACCEPT_QUEUE_SOCKETS: usize = 64;
/// How often a comparison begins again above a newer horizon of the peer.
pub const RECONCILE_HORIZONS_MAX: usize = 4;
/// Frames that were asked for or sent and did not make a difference: looked at once, then left.
pub const RECONCILE_FUTILE_MAX: usize = 131_072;
/// Most facts that one answer holds.
pub const FACTS_SHOWN_MAX: usize = 20_000;
/// Largest token file, in bytes.
pub const TOKENS_FILE_MAX_BYTES: u64 = 4_096;
/// The time in which failed logins of browsers are counted together, in milliseconds.
pub const BROWSER_FAILURE_WINDOW_MS: u64 = 60_000;
/// Most event streams at once of one kind of caller; one caller gets half of them.
pub const EVENT_STREAMS_MAX: usize = 32;
/// Largest answer of a node that the command line takes, in bytes.
pub const REMOTE_ANSWER_MAX_BYTES: usize = 64 * 1024 * 1024;
/// Most long answers (questions to the planner, exports) at once of one kind of caller; one caller gets half of them.
pub const LONG_ANSWERS_MAX: usize = 32;
/// Most requests worked for at once of one kind of caller; one caller gets half of them.
pub const REQUESTS_AT_ONCE_MAX: usize = 256;
/// Answers that take the processor for long that are made at once.
pub const LARGE_ANSWERS_AT_ONCE: usize = 3;
/// The same for one kind of caller.
pub const LARGE_ANSWERS_OF_ONE_KIND: usize = 2;
/// As many again for stops, decisions and the state of the node alone.
pub const URGENT_REQUESTS_AT_ONCE_MAX: usize = 64;
/// Most connections on the local socket that wait for their client.
pub const LOCAL_WAITING_MAX: usize = 64;
/// Largest `run.json`, in bytes.
pub const RUN_FILE_MAX_BYTES: u64 = 4_096;
/// How long a permit may wait between the ruling and the driver, in milliseconds.
pub const PERMIT_TTL_MS: u64 = 5_000;
/// Most rules or tests of one policy.
pub const POLICY_ENTRIES_MAX: usize = 500;
/// Most sequences of one policy.
pub const SEQUENCES_MAX: usize = 100;
/// Most steps of one sequence.
pub const SEQUENCE_STEPS_MAX: usize = 16;
/// Longest pause before a step of a sequence, in milliseconds.
pub const SEQUENCE_WAIT_MAX_MS: u64 = 3_600_000;
/// What each step of a sequence may take beside its own time, in milliseconds: its write ahead, its driver, its way back
/// to the safe state.
pub const SEQUENCE_STEP_SLACK_MS: u64 = 10_000;
/// How long the begin of a step may take to be on disk, in milliseconds; then the sequence ends.
pub const SEQUENCE_AHEAD_MAX_MS: u64 = 3_000;
/// How long the way of an earlier step to its safe state waits for that of each later one, in milliseconds.
pub const SEQUENCE_ORDER_MAX_MS: u64 = 1_500;
/// How long it waits for all later ones together, in milliseconds.
pub const SEQUENCE_ORDER_ALL_MAX_MS: u64 = 4_000;
/// Longest text of a pairing link, in bytes.
pub const PAIR_LINK_MAX_BYTES: usize = 1_536;
/// Temperature probes and disks published at most.
pub const HOST_SENSOR_PARTS_MAX: usize = 8;
/// Longest run of a command that prints a reading; a sensor that takes longer than [`SENSOR_ANSWER_MS`] is failing.
pub const EXEC_READING_MS: u64 = 4_000;
/// Output of a command that is kept, in bytes.
pub const EXEC_OUTPUT_MAX_BYTES: usize = 4_096;
/// How long a standby may take to be ready, in milliseconds; without it nothing starts.
pub const STANDBY_READY_MS: u64 = 5_000;
/// Descriptors that are kept for further attempts to make an actuator safe.
pub const STANDBY_SPARE_DESCRIPTORS: usize = 8;
/// How long the end of what a start command began is waited for before the safe command runs, in
/// milliseconds.
pub const GROUP_END_MS: u64 = 500;
/// Largest request head, in bytes.
pub const REQUEST_HEAD_MAX_BYTES: usize = 16 * 1024;
/// Most header lines of a request.
pub const REQUEST_HEADERS_MAX: usize = 64;
/// Longest URL we accept, in bytes.
pub const URL_MAX_BYTES: usize = 1_024;
/// How long a request to the operator API may take, in milliseconds.
pub const API_REQUEST_MS: u64 = 20_000;
/// How long the command line waits for a connection to its node, in milliseconds.
pub const REMOTE_CONNECT_MS: u64 = 3_000;
/// How long the command line waits for an answer of its node, in milliseconds.
pub const REMOTE_ANSWER_MS: u64 = 30_000;
/// How long dialing another node may take, in milliseconds.
pub const DIAL_MS: u64 = 10_000;
/// How long a request that was under way at the deadline may still take, in milliseconds.
pub const REQUEST_GRACE_MS: u64 = 30_000;
/// Largest `site.toml`, in bytes.
pub const SITE_FILE_MAX_BYTES: u64 = 262_144;
/// The port of a node where nothing else is said (gen-1 §2).
pub const DEFAULT_PORT: u16 = 18_789;
/// Largest plan of a site, in bytes.
pub const SITE_PLAN_MAX_BYTES: u64 = 8 * 1_048_576;
/// Most elements, texts and comments of a plan.
pub const SITE_PLAN_MAX_NODES: u32 = 400_000;
/// Most sites of one `site.toml`.
pub const SITES_MAX: usize = 16;
/// Most zones of all sites together.
pub const SITE_ZONES_MAX: usize = 500;
/// Most assets of all sites together.
pub const SITE_ASSETS_MAX: usize = 2_000;
/// Most points of one outline.
pub const SITE_OUTLINE_MAX_POINTS: usize = 500;
/// Most metrics of one zone.
pub const SITE_ZONE_METRICS_MAX: usize = 32;
/// Most mistakes of one `site.toml` that are told at once.
pub const SITE_PROBLEMS_MAX: usize = 50;
/// Deepest nesting of a plan's elements.
pub const SITE_PLAN_MAX_DEPTH: usize = 1_024;
/// Most bytes of the list of sums of a release, and of its signature.
pub const RELEASE_LIST_MAX_BYTES: usize = 100_000;
/// Most redirects on the way to it.
pub const RELEASE_REDIRECTS_MAX: usize = 5;
/// How long it may take to be had, in milliseconds.
pub const RELEASE_WAIT_MAX_MS: u64 = 30_000;
/// Most bytes of a package of the desktop application.
pub const RELEASE_PACKAGE_MAX_BYTES: usize = 500_000_000;
/// How long a server may be silent while a file of a release is brought, in milliseconds.
pub const RELEASE_IDLE_MAX_MS: u64 = 30_000;
/// How long a package may take to be brought, in milliseconds.
pub const RELEASE_BRING_MAX_MS: u64 = 3_600_000;
/// How long after its start the window sees whether the node has found a newer release, in milliseconds; longer each time,
pub const UPDATE_LOOK_FIRST_MS: u64 = 1_000;
/// up to this.
pub const UPDATE_LOOK_LAST_MS: u64 = 60_000;
/// How often a newer release is looked for, in milliseconds.
pub const RELEASE_LOOK_EVERY_MS: u64 = 86_400_000;
/// How often it is seen whether a look is due, in milliseconds.
pub const RELEASE_LOOK_AGAIN_MS: u64 = 3_600_000;
/// Most alarms of one kind that stand at once, where others name its subjects.
pub const ALARM_SUBJECTS_MAX: usize = 64;
/// The same, where this node's own configuration names them.
pub const ALARM_OWN_SUBJECTS_MAX: usize = 4_096;
/// Longest text of an alarm, in characters.
pub const ALARM_TEXT_MAX_CHARS: usize = 500;
/// Most rules for alerts (`[[alert]]`).
pub const ALERT_RULES_MAX: usize = 256;
/// Most readings that rules for alerts keep something of.
pub const ALERT_KEYS_MAX: usize = 4_096;
/// Most readings of one rule and another device that are not believed and of which something is kept.
pub const ALERT_KEYS_SHARE_MAX: usize = 128;
/// Most alerts of one rule and another device that stand at once, of readings that are not believed.
pub const ALERT_SHARE_MAX: usize = 8;
/// Most alerts that begin in an hour by readings of another device that are not believed.
pub const ALERT_DOUBTED_BEGINS_MAX: usize = 60;
/// How often in an hour an alert of a rule begins, before it takes a quiet while to end.
pub const ALERT_BEGINS_MAX: usize = 3;
/// That while, in milliseconds.
pub const ALERT_QUIET_MS: u64 = 300_000;
/// Most tests of one place where people are told, in a minute.
pub const NOTIFY_TESTS_PER_MIN_MAX: usize = 3;
/// Longest words of a rule for alerts, and longest note of a person about an alert, in characters.
pub const ALERT_NOTE_MAX_CHARS: usize = 300;
/// How often alerts are looked at, in milliseconds.
pub const ALERT_LOOK_MS: u64 = 1_000;
/// How many looks lie between two that read what waits and who is heard.
pub const ALERT_SLOW_LOOKS: u32 = 5;
/// How long an alert of before the start may take to stand again, before it counts as over, in milliseconds.
pub const ALERT_AGAIN_MS: u64 = 120_000;
/// How long a node may have been off for an alert that stands again to be the same one, in milliseconds.
pub const ALERT_SAME_MS: u64 = 900_000;
/// How often it is written down that alerts stand, in milliseconds.
pub const ALERT_SEEN_EVERY_MS: u64 = 60_000;
/// Most alerts that have ended and are kept.
pub const ALERTS_KEPT_MAX: usize = 2_000;
/// The longest time for which an alert is muted, in milliseconds.
pub const ALERT_MUTE_MAX_MS: u64 = 7 * 86_400_000;
/// The longest time for which an alert about an actuator or an emergency is muted, in milliseconds.
pub const ALERT_MUTE_GRAVE_MAX_MS: u64 = 900_000;
/// How long a trusted device is missed before that is an alert, where nothing else is said, in milliseconds.
pub const ALERT_PEER_LOST_MS: u64 = 300_000;
/// How long a proposal waits for a person before that is an alert, where nothing else is said, in milliseconds.
pub const ALERT_PROPOSAL_WAITS_MS: u64 = 300_000;
/// Longest span of time in a rule for alerts or for telling people, in milliseconds.
pub const ALERT_SPAN_MAX_MS: u64 = 30 * 86_400_000;
/// Most places where people are told of alerts (`[[notify]]`).
pub const NOTIFY_TARGETS_MAX: usize = 16;
/// Most times that one place is told of the same alert.
pub const NOTIFY_TIMES_MAX: u32 = 12;
/// Shortest time between two messages about the same alert to the same place, in milliseconds.
pub const NOTIFY_REPEAT_MIN_MS: u64 = 60_000;
/// Most messages about alerts to one place in an hour; what comes beyond waits.
pub const NOTIFY_PER_HOUR_MAX: usize = 30;
/// How many of those are kept for what is critical.
pub const NOTIFY_RESERVED_PER_HOUR: usize = 10;
/// How often one condition is told as a new alert to one place in an hour; one that comes and goes is not told more often.
pub const NOTIFY_OF_ONE_PER_HOUR_MAX: usize = 6;
/// More alerts than these at once for the same place become one message.
pub const NOTIFY_APART_MAX: usize = 3;
/// Most alerts that are named in one message; others are counted.
pub const NOTIFY_NAMED_MAX: usize = 10;
/// For how long it is tried to tell that an alert is over, in milliseconds.
pub const NOTIFY_OVER_MAX_MS: u64 = 86_400_000;
/// How long one message about alerts may take, in milliseconds.
pub const NOTIFY_SEND_MS: u64 = 15_000;
/// The first and the longest pause after a message about alerts that did not get away, in milliseconds.
pub const NOTIFY_PAUSE_FIRST_MS: u64 = 5_000;
/// See [`NOTIFY_PAUSE_FIRST_MS`].
pub const NOTIFY_PAUSE_MAX_MS: u64 = 300_000;
/// Longest text that is sent about alerts, in characters.
pub const NOTIFY_TEXT_MAX_CHARS: usize = 1_500;
/// Longest message of an ntfy server, in bytes.
pub const NTFY_MESSAGE_MAX_BYTES: usize = 4_000;
/// Largest answer of a server that passes messages about alerts on, in bytes.
pub const NOTIFY_ANSWER_MAX_BYTES: usize = 65_536;
/// Longest address of a browser's push service, in bytes.
pub const PUSH_ENDPOINT_MAX_BYTES: usize = 1_536;
/// How long one message to a push service may take, in milliseconds.
pub const PUSH_SEND_MS: u64 = 10_000;
/// The shortest and the longest time that a push service is left alone after it failed or asked for it, in milliseconds.
pub const PUSH_RETRY_MIN_MS: u64 = 5_000;
/// See [`PUSH_RETRY_MIN_MS`].
pub const PUSH_RETRY_MAX_MS: u64 = 1_800_000;
/// How long a message about an alert is tried, and kept by the push service for a phone that is off, in milliseconds.
pub const PUSH_ALERT_TTL_MS: u64 = 86_400_000;
/// The same of a message about a proposal or a test.
pub const PUSH_SHORT_TTL_MS: u64 = 3_600_000;
/// How long before its session ends a phone that hears by push is told that it does, in milliseconds.
pub const PUSH_ENDS_SOON_MS: u64 = 86_400_000;
/// How often it is looked which sessions end soon, in milliseconds.
pub const PUSH_ENDS_LOOK_MS: u64 = 600_000;
/// Most messages that wait for one phone; the oldest gives way.
pub const PUSH_WAITING_MAX: usize = 16;
/// Messages on their way to the task that sends them.
pub const PUSH_QUEUE: usize = 64;
/// Longest text of a message to a phone, in characters.
pub const PUSH_TEXT_MAX_CHARS: usize = 400;
/// Most push services of one's own network.
pub const PUSH_SERVICES_MAX: usize = 8;
/// Longest reason that is kept of why a message did not reach a push service, in characters.
pub const PUSH_WHY_MAX_CHARS: usize = 300;
/// How often one session may turn push on, or on elsewhere, in [`PUSH_CHANGES_WINDOW_MS`].
pub const PUSH_CHANGES_MAX: usize = 12;
/// See [`PUSH_CHANGES_MAX`], in milliseconds.
pub const PUSH_CHANGES_WINDOW_MS: u64 = 3_600_000;
/// How long after a failure the list of sessions of other machines is written again, in milliseconds.
pub const AWAY_SESSIONS_RETRY_MS: u64 = 2_000;
/// Pause between two looks for sessions whose time is up, in milliseconds.
pub const SESSIONS_LOOK_MS: u64 = 10_000;
/// Most phones that hear by push, of all makers of links; who has a session may turn it on while there is room.
pub const PUSH_PHONES_MAX: usize = 48;
/// Messages about alerts that wait for a chat.
pub const NOTIFY_CHAT_QUEUE: usize = 16;
/// Bytes of log lines that wait to be written; further lines are dropped and counted.
pub const LOG_QUEUE_MAX_BYTES: usize = 1_048_576;
/// Longest message or field of a log line, in characters.
pub const LOG_TEXT_MAX_CHARS: usize = 1_000;
/// Of a log file that this program writes itself; one more of it is kept.
pub const LOG_FILE_MAX_BYTES: u64 = 10_000_000;
/// How long the end of the process waits for log lines that are not written yet, in milliseconds.
pub const LOG_FLUSH_MS: u64 = 1_000;
/// Pause before a write to a terminal or pipe that takes nothing is tried again, in milliseconds.
pub const LOG_RETRY_MS: u64 = 50;
/// How long the end of a node waits for a last entry of its store, in milliseconds.
pub const STORE_LAST_WORDS_MS: u64 = 1_000;
/// A sensor that does not answer for so long is told to be failing.
pub const SENSOR_ANSWER_MS: u64 = 5_000;
/// Longest pause before a sensor that fails is read again, unless it is read more rarely anyway.
pub const SENSOR_PAUSE_MAX_MS: u64 = 60_000;
/// Most tables of redundant readings.
pub const REDUNDANT_MAX: usize = 64;
/// Most readings of one table of redundant ones.
pub const REDUNDANT_READINGS_MAX: usize = 16;
/// The oldest value of a redundant reading that counts where nothing is said, in seconds.
pub const REDUNDANT_WITHIN_SEC: u64 = 120;
/// How long somebody who asks for a look at a sensor waits for it, in milliseconds.
pub const DEVICE_LOOK_MS: u64 = 6_000;
/// Sensors that are looked at because somebody asks, at a time.
pub const DEVICE_LOOKS_MAX: usize = 4;
/// How long a sensor that sends by itself and failed is not listened to.
pub const SENSOR_DEAF_MS: u64 = 1_000;
/// Longest text that an actuator writes into a file, in bytes.
pub const FILE_TEXT_MAX_BYTES: usize = 4_096;
/// How long a file may take to be written or read for an actuator, and its state to be the safe one, in milliseconds.
pub const FILE_WRITE_MS: u64 = 2_000;
/// How often the state of an actuator that a file moves is read until it is safe, in milliseconds.
pub const FILE_SAFE_LOOK_MS: u64 = 50;
/// Most bytes of a file that a reading is taken from.
pub const FILE_READING_MAX_BYTES: usize = 65_536;
/// Most bytes of what says how the twins of a folder behave.
pub const TWIN_BEHAVIOUR_MAX_BYTES: u64 = 65_536;
/// Most bytes of what the twins of a folder were told; then its journal begins anew.
pub const TWIN_JOURNAL_MAX_BYTES: u64 = 1_048_576;
/// Shortest time between two readings of a sensor, in milliseconds.
pub const SENSOR_EVERY_MIN_MS: u64 = 50;
/// Shortest time between two looks at a sensor that sends by itself and had nothing worth a reading, in milliseconds.
pub const SENSOR_NO_NEWS_MS: u64 = 1;
/// Longest time between two readings of a sensor, in milliseconds: a day.
pub const SENSOR_EVERY_MAX_MS: u64 = 86_400_000;
/// Longest span that the configuration of a reading may name, in seconds: 366 days.
pub const SENSOR_EVERY_SEC_MAX: u64 = 366 * 24 * 3_600;
/// Longest unit of a configured reading, in bytes.
pub const UNIT_MAX_BYTES: usize = 24;
/// Readings without a failure after which a sensor that failed is told to work again.
pub const SENSOR_STEADY_READINGS: u32 = 3;
/// Most readings that a sensor gives at once; those beyond are left out.
pub const SENSOR_READINGS_MAX: usize = 256;
/// Longest reason for which a sensor has no readings, in characters.
pub const SENSOR_PROBLEM_MAX_CHARS: usize = 200;
/// First pause before a surface that panicked is started again.
pub const SURFACE_PAUSE_MIN_MS: u64 = 1_000;
/// Longest pause before a surface that panicked is started again.
pub const SURFACE_PAUSE_MAX_MS: u64 = 60_000;
/// After so long without a panic a surface is no longer told to be failing.
pub const SURFACE_STEADY_MS: u64 = 60_000;
/// How long the end of a node waits for its store to be closed, in milliseconds.
pub const STORE_CLOSE_MS: u64 = 5_000;
/// How far apart two signals of one kind must be for the second to end the process at once, in
/// milliseconds.
pub const SIGNAL_AGAIN_MS: u64 = 1_000;
/// How long a graceful end may take after a signal before the process ends without it, in milliseconds.
pub const END_DEADLINE_MS: u64 = 3 * SHUTDOWN_DEADLINE_MS;
/// How often a task of the node beats and the signals' thread looks whether it did, in milliseconds.
pub const PULSE_EVERY_MS: u64 = 1_000;
/// Looks without a beat after which the node's tasks are taken to stand still.
pub const PULSE_MISSED_MAX: u32 = 15;
/// How long an end at once waits for actuators to be made safe, in milliseconds.
pub const SAFE_AT_END_MS: u64 = 10_000;
/// Largest key file, in bytes.
pub const KEY_FILE_MAX_BYTES: u64 = 65_536;
/// Largest file of the state directory that holds an id, a certificate or the simulated kit, in bytes.
pub const SMALL_FILE_MAX_BYTES: u64 = 65_536;
/// How often a node looks whether its log, store and state directory work, in milliseconds.
pub const HEALTH_EVERY_MS: u64 = 2_000;
/// How long writes and looks at the state directory may take before the disk counts as not answering,
/// in milliseconds.
pub const DISK_STALL_MS: u64 = 10_000;
/// Free space below which the disk counts as full, in bytes.
pub const DISK_FREE_MIN_BYTES: u64 = 1_048_576;
/// Free space below which `doctor` warns, in bytes.
pub const DISK_FREE_LOW_BYTES: u64 = 512 << 20;
/// What `doctor` writes to see whether the disk takes it, in bytes.
pub const DISK_TRIAL_BYTES: usize = 4_096;
/// How long that may take before it warns, in milliseconds.
pub const DISK_SLOW_MS: u64 = 500;
/// A clock before this moment, 2025-01-01, is wrong, in milliseconds since 1970.
pub const CLOCK_EARLIEST_MS: u64 = 1_735_689_600_000;
/// Most files of the state directory that a bundle of `doctor` lists.
pub const BUNDLE_FILES_MAX: usize = 200;
/// Events that it holds.
pub const BUNDLE_EVENTS_MAX: usize = 200;
/// Bytes written to see whether a full store has room again.
pub const STORE_PROBE_BYTES: usize = 262_144;
/// Readings of different metrics and zones that one device may have standing.
pub const BUDGET_FACTS: u64 = 2_000;
/// Devices unknown before whose unproven frames one device may bring.
pub const BUDGET_ORIGINS: u64 = 1_000;
/// Conflicting frames that one device may bring.
pub const BUDGET_CONFLICTS: u64 = 500;
/// Proposals of one other executor that are shown here.
pub const BUDGET_MIRRORS: u64 = 500;
/// The signed records of those together, in bytes.
pub const BUDGET_MIRROR_BYTES: u64 = 4_194_304;
/// Largest signed record of a proposal, in bytes.
pub const PROPOSAL_RECORD_MAX_BYTES: usize = 131_072;
/// Proposals asked for by one device that wait here for a person.
pub const BUDGET_WAITING: u64 = 100;
/// Records of issuers that are not believed here, brought by one device to be passed on.
pub const BUDGET_RECORDS: u64 = 500;
/// Records that one issuer may have here, beside those about devices and operators known here.
pub const BUDGET_ISSUED_RECORDS: u64 = 2_000;
/// Bytes of frames that one device may send at once; they come free again in
/// [`BUDGET_FRAME_REFILL_MS`].
pub const BUDGET_FRAME_BYTES: u64 = 1_073_741_824;
/// In which time the bytes of frames of one device come free again, in milliseconds.
pub const BUDGET_FRAME_REFILL_MS: u64 = 24 * 3_600_000;
/// Bytes of frames that one device may have in the store, at most half of what the store may hold; over
/// it, its own oldest frames go.
pub const BUDGET_KEPT_BYTES: u64 = 1_073_741_824;
/// Frames that one device may have in the store, at most three quarters of `store.keep_frames`; over it,
/// its own oldest frames go.
pub const BUDGET_KEPT_FRAMES: u64 = 1_500_000;
/// What whoever answers at an address of a device, without proof, may have of what a device may have: readings.
pub const ADDRESS_FACTS: u64 = 500;
/// As [`ADDRESS_FACTS`]: devices unknown before.
pub const ADDRESS_ORIGINS: u64 = 100;
/// As [`ADDRESS_FACTS`]: conflicting frames.
pub const ADDRESS_CONFLICTS: u64 = 50;
/// As [`ADDRESS_FACTS`]: frames in the store.
pub const ADDRESS_KEPT_FRAMES: u64 = 5_000;
/// As [`ADDRESS_FACTS`]: their bytes in the store.
pub const ADDRESS_KEPT_BYTES: u64 = 8_388_608;
/// As [`ADDRESS_FACTS`]: bytes of frames in a day.
pub const ADDRESS_FRAME_BYTES: u64 = 16_777_216;
/// How long readings and conflicts on such an account are kept, in milliseconds.
pub const ADDRESS_KEPT_MS: u64 = 24 * 3_600_000;
/// What a frame counts as beside its text, in bytes; migration 14 says the same.
pub const FRAME_ROW_BYTES: u64 = 400;
/// What of a store's size, at most a quarter, is kept free of frames: decisions, proposals of this node,
/// revocations, audit entries and the emergency stop have it to themselves. Of the free disk likewise.
pub const STORE_RESERVE_BYTES: u64 = 67_108_864;
/// Frames of one device that one step removes to make room.
pub const SHARE_PRUNED_MAX: usize = 2_048;
/// Bytes that one step of making room removes at least.
pub const SHARE_PRUNED_BYTES: u64 = 262_144;
/// Frames that go beyond what a share is over by, so that not every batch prunes.
pub const SHARE_PRUNED_EASE: u64 = 128;
/// Frames that may go for one batch that is to be stored; what has no room then is refused.
pub const SHARE_PRUNED_AT_ONCE: usize = 16_384;
/// A device whose frames are pruned before they are as old as this floods, in milliseconds.
pub const FLOOD_MS: u64 = 3_600_000;
/// How long the alarm about a full store stands after frames were refused for want of room, in milliseconds.
pub const NO_ROOM_TOLD_MS: u64 = 10_000;
/// Longest text of an event, or within its data, in characters.
pub const EVENT_TEXT_MAX_CHARS: usize = 1_000;
/// Longest text within an entry of the audit trail, in characters.
pub const AUDIT_TEXT_MAX_CHARS: usize = 4_000;
/// Proposals that are minted for one device in an hour, whatever became of them.
pub const BUDGET_MINTED_PER_HOUR: u64 = 300;
/// The time in which the shares of an hour are counted, in milliseconds.
pub const BUDGET_WINDOW_MS: u64 = 3_600_000;
/// How long a cited reading must still be young enough where a person decides about another device's
/// wish, in milliseconds; half of the greatest age where that is less.
pub const EVIDENCE_LEFT_MIN_MS: u64 = 30_000;
/// Entries of the audit trail in an hour about refused decisions that nobody enrolled has signed, or that
/// were refused before; the rest is counted.
pub const AUDIT_UNPROVEN_PER_HOUR: u64 = 200;
/// Events on one account, of a device or of strangers together, that are recorded in a minute; the rest
/// is counted.
pub const BUDGET_EVENTS_PER_MINUTE: u64 = 60;
/// Commands of one device that are remembered in an hour, so that a repeated one does nothing.
pub const BUDGET_COMMANDS_PER_HOUR: u64 = 600;
/// How long a command is remembered, in milliseconds; far longer than [`COMMAND_AGE_MAX_MS`].
pub const COMMANDS_KEPT_MS: u64 = 24 * 3_600_000;
/// How often the interlocks of a running action are looked at, in milliseconds.
pub const INTERLOCK_EVERY_MS: u64 = 250;
/// How long a running action goes on while its interlocks cannot be looked at, in milliseconds.
pub const INTERLOCK_BLIND_MAX_MS: u64 = 3_000;
/// Stops of one device in an hour that are each recorded where one is recorded already; every one of them
/// stops.
pub const BUDGET_STOPS_PER_HOUR: u64 = 12;
/// Changes by one session of a browser in an hour that each leave something behind: an event, an audit entry or a row. Stops,
/// pauses and ends are no part of it.
pub const SESSION_CHANGES_PER_HOUR: u64 = 120;
/// Characters of who asks: a person's name, with the session of a phone.
pub const ASKED_BY_MAX_CHARS: usize = 160;
/// Characters of who stopped everything: the same, with the device that brought it.
pub const STOPPED_BY_MAX_CHARS: usize = 320;
/// Standing approvals that one device may bring in an hour, and as many ends of them.
pub const BUDGET_STANDING_PER_HOUR: u64 = 120;
/// Lists of standing approvals that one device may ask for in a minute.
pub const BUDGET_LISTS_PER_MINUTE: u64 = 60;
/// Proposals of which one device may have the checks made in a minute.
pub const BUDGET_CHECKS_PER_MINUTE: u64 = 600;
/// Records of operators of one issuer in an hour that take the place of earlier ones.
pub const BUDGET_ENROLMENTS_PER_HOUR: u64 = 200;
/// Proposals of one page of a list together, in bytes of their records.
pub const LIST_PAGE_BYTES: u64 = 4_194_304;
/// How far behind all others a reading counts that claimed to be from too far ahead, in milliseconds.
pub const AHEAD_BEHIND_MS: u64 = 10 * 365 * 24 * 3_600_000;
/// Up to so many links of our own kind, frames are pushed over all of them: a site of five nodes pays at most
/// three copies too many for a frame and none of its frames ever waits for an offer.
pub const TREE_LINKS_ALL_EAGER: usize = 4;
/// Offers that are gathered into one message.
pub const TREE_OFFERS_PER_MESSAGE: usize = 256;
/// How long offers are gathered, in milliseconds.
pub const TREE_OFFER_MS: u64 = 100;
/// How long after it was offered a frame may come by itself, in milliseconds.
pub const TREE_ASK_MS: u64 = 250;
/// How long who was asked for a frame may take before the next is asked, in milliseconds.
pub const TREE_ASK_AGAIN_MS: u64 = 500;
/// The longest that it may take where a message to it and back is slow, in milliseconds.
pub const TREE_ASK_AGAIN_MAX_MS: u64 = 2_500;
/// How soon another link may become eager for a frame that did not come, in milliseconds.
pub const TREE_GRAFT_EVERY_MS: u64 = 2_000;
/// How long a node whose frames wait to be judged asks for none, in milliseconds.
pub const TREE_BUSY_MAX_MS: u64 = 2_000;
/// How soon a peer is told again to push no more, in milliseconds.
pub const TREE_PRUNE_AGAIN_MS: u64 = 1_000;
/// Of how many who offered a frame it is asked for; then it is left to reconciliation.
pub const TREE_TRIES_MAX: u32 = 16;
/// Offers of one peer that are remembered.
pub const TREE_OFFERS_KEPT_MAX: usize = 2_048;
/// Offers that a peer may not keep before it counts as one that withholds frames; each one kept makes up for
/// half of them, and it no longer does when none is left.
pub const TREE_UNMET_MAX: u32 = 64;
/// Offers that are remembered of a peer that withholds frames.
pub const TREE_OFFERS_OF_LIAR_MAX: usize = 16;
/// How often the other end of a link may say in a minute what it offers.
pub const LINK_OFFERS_PER_MINUTE: u32 = 30;
/// How often the configuration file is looked at for changes, in milliseconds; it counts once it has been the same twice.
pub const CONFIG_LOOK_EVERY_MS: u64 = 2_000;
/// How long a change of devices waits for the sensors and guards that end with it, in milliseconds.
pub const REFIT_WAIT_MS: u64 = 3_000;
/// Sentences that a refused change of devices keeps.
pub const REFIT_MISTAKES_MAX: usize = 100;
/// Messages about the tree that are answered on a link in a minute.
pub const TREE_ASKED_PER_MINUTE: u32 = 600;
/// Up to so many trusted devices of our own kind a node keeps links with all of them.
pub const VIEW_ALL_MAX: usize = 12;
/// Neighbours that a node chooses at least where there are more.
pub const VIEW_NEIGHBOURS_MIN: usize = 4;
/// Other links of a device, told of by both ends, with which it needs none with this node in order to be heard.
pub const VIEW_OTHERS_MIN: usize = 3;
/// Devices that are not heard through others and are dialed at once.
pub const VIEW_ALONE_AT_ONCE: usize = 4;
/// How long a node that has just begun waits to hear of devices through others before it dials them, in milliseconds.
pub const VIEW_SETTLE_MS: u64 = 20_000;
/// How often what others tell of devices is read again, in milliseconds.
pub const VIEW_READ_MS: u64 = 5_000;
/// Pauses between two pings that a link which is needed no more stays without being used.
pub const VIEW_IDLE_PINGS: u64 = 8;
/// Pauses between two pings for which a device that did not answer is chosen as no neighbour.
pub const VIEW_AWAY_PINGS: u64 = 20;
/// Devices that a node says it needs a link with and does not reach.
pub const VIEW_WANTS_MAX: usize = 16;
/// How long a device that was left out and then not heard has a link all the same, in milliseconds.
pub const VIEW_MISSED_MS: u64 = 6 * 3_600_000;
/// How long a message waits for a device to be dialed for it, in milliseconds.
pub const REACH_MS: u64 = 3_000;

/// Largest head of an answer over HTTP, in bytes.
pub const HTTP_HEAD_MAX_BYTES: usize = 65_536;
/// Largest answer of a device over HTTP that is read, in bytes.
pub const HTTP_ANSWER_MAX_BYTES: usize = 65_536;
/// Longest path with query of a request to a device, in bytes.
pub const HTTP_PATH_MAX_BYTES: usize = 2_048;
/// Largest body of a request to a device, in bytes.
pub const HTTP_SENT_MAX_BYTES: usize = 4_096;
/// Most readings of one device over HTTP.
pub const HTTP_READINGS_MAX: usize = 64;
/// Most actuators of one device over HTTP.
pub const HTTP_ACTUATORS_MAX: usize = 16;
/// Discovery messages of a broker that are kept.
pub const DISCOVERED_MAX: usize = 1_024;
/// Their content together, in bytes.
pub const DISCOVERED_BYTES_MAX: usize = 4_194_304;
/// Things in one discovery message.
pub const DISCOVERED_PARTS_MAX: usize = 64;
/// Longest text in a discovery message that is used, in bytes.
pub const DISCOVERED_TEXT_MAX_BYTES: usize = 512;
/// For how long discovery messages are listened for at most, in seconds.
pub const DISCOVER_SECONDS_MAX: u64 = 300;
/// Largest body that a hook takes, in bytes.
pub const HOOK_BODY_MAX_BYTES: usize = 16_384;
/// Longest name of a hook, in bytes.
pub const HOOK_NAME_MAX_BYTES: usize = 64;
/// Shortest token of a hook, in bytes.
pub const HOOK_TOKEN_MIN_BYTES: usize = 16;
/// For how long a hook's token counts before it is read again, in milliseconds.
pub const HOOK_TOKEN_MS: u64 = 2_000;
/// Most readings of one hook.
pub const HOOK_READINGS_MAX: usize = 64;
/// Most values of one reading of a hook that wait to be taken.
pub const HOOK_WAITING_MAX: usize = 32;
/// Requests that a hook takes at once before its rate counts.
pub const HOOK_BURST: u64 = 20;
/// Requests that a hook takes in a second in the long run.
pub const HOOK_PER_SEC: u64 = 5;
/// How old a value of a hook may be where its reading has no `late_sec`, in milliseconds.
pub const HOOK_FRESH_MS: u64 = 60_000;
/// How far apart the values of a hook are at least, in milliseconds, where their sender's clock tells less.
pub const HOOK_APART_MS: u64 = 50;
/// By how much two of its values may seem to be in the wrong order for that reason, in milliseconds.
pub const HOOK_SAME_MS: u64 = 2_000;
/// The oldest that an observation can say it is, in milliseconds; what says that it is older counts as that old.
pub const READING_AGE_MAX_MS: u64 = 366 * 86_400_000;
/// How long one answer with readings may take, in milliseconds; a sensor that takes longer than [`SENSOR_ANSWER_MS`] is
/// failing.
pub const HTTP_READING_MS: u64 = 4_000;
/// How old an answer over HTTP may be that another reading of the device asked for, in milliseconds.
pub const HTTP_FRESH_MS: u64 = 1_000;
/// How often the safe request is made again over HTTP while an earlier one may come late, in milliseconds.
pub const HTTP_SAFE_AGAIN_MS: u64 = 1_000;
/// How often a device is asked over HTTP whether it has come to its safe state, in milliseconds.
pub const HTTP_SAFE_LOOK_MS: u64 = 200;
/// How often a device is asked over HTTP for its state while it moves, in milliseconds.
pub const HTTP_MOVING_LOOK_MS: u64 = 2_000;
/// How many times in a row a device that moves may not answer over HTTP before it is made safe.
pub const HTTP_MOVING_LOST: u32 = 3;
/// How long a connection to a chat's server may take, in milliseconds.
pub const CHAT_CONNECT_MS: u64 = 10_000;
/// How long a chat's server may take to answer, in milliseconds.
pub const CHAT_REQUEST_MS: u64 = 20_000;
/// How long a chat's server is asked to wait for an update, in milliseconds.
pub const CHAT_POLL_MS: u64 = 25_000;
/// An answer of a chat's server, in bytes.
pub const CHAT_ANSWER_MAX_BYTES: usize = 4 * 1_048_576;
/// Updates in one answer.
pub const CHAT_UPDATES_MAX: usize = 20;
/// Characters of a text that are read.
pub const CHAT_TEXT_MAX_CHARS: usize = 4_096;
/// A message of the bot, in UTF-16 units: a chat takes 4,096.
pub const CHAT_MESSAGE_MAX_UNITS: usize = 3_900;
/// Messages into which one answer is split; what is left is not sent.
pub const CHAT_PARTS_MAX: usize = 5;
/// The longest time for which a chat's server is left alone when it says so, in milliseconds.
pub const CHAT_RETRY_MAX_MS: u64 = 300_000;
/// Pause after a failure, the shortest and the longest, in milliseconds.
pub const CHAT_PAUSE_MIN_MS: u64 = 500;
/// See [`CHAT_PAUSE_MIN_MS`].
pub const CHAT_PAUSE_MAX_MS: u64 = 30_000;
/// Messages of members that are answered at a time.
pub const CHAT_BUSY_MAX: usize = 16;
/// Messages of members that wait for that.
pub const CHAT_WAITING_MAX: usize = 64;
/// Strangers that are answered at a time.
pub const CHAT_STRANGERS_BUSY_MAX: usize = 4;
/// Longest a message waits for a server that wants to be left alone, in milliseconds.
pub const CHAT_WAIT_MAX_MS: u64 = 30_000;
/// Numbers of updates that are remembered as taken.
pub const CHAT_TAKEN_KEPT: usize = 256;
/// Messages of one account that are read in a minute.
pub const CHAT_PER_MINUTE: u32 = 30;
/// Accounts whose messages are counted at a time.
pub const CHAT_ACCOUNTS_MAX: usize = 1_024;
/// How often one stranger is answered, in milliseconds.
pub const CHAT_STRANGER_EVERY_MS: u64 = 600_000;
/// Answers to strangers in an hour.
pub const CHAT_STRANGERS_PER_HOUR: u32 = 60;
/// Buttons that count at a time.
pub const CHAT_BUTTONS_MAX: usize = 1_024;
/// How long a button of a proposal counts, in milliseconds.
pub const CHAT_BUTTON_MS: u64 = 3_600_000;
/// How long the last question before an approval counts, in milliseconds.
pub const CHAT_CONFIRM_MS: u64 = 120_000;
/// Messages about proposals that are kept up to date.
pub const CHAT_TOLD_MAX: usize = 256;
/// From which age on it is told how old the message of a stop is, in milliseconds.
pub const CHAT_STOP_LATE_MS: u64 = 120_000;
/// How often those messages are looked at, in milliseconds.
pub const CHAT_LOOK_MS: u64 = 15_000;
/// Lines of a list in a chat.
pub const CHAT_LINES_MAX: usize = 100;
/// How long a connection to a model's server may take, in milliseconds.
pub const MODEL_CONNECT_MS: u64 = 10_000;
/// How long a model may take before the first piece of its reply, in milliseconds: a small machine reads a long question
/// slowly.
pub const MODEL_FIRST_MS: u64 = 180_000;
/// How long a model may be silent between two pieces, in milliseconds.
pub const MODEL_SILENCE_MS: u64 = 60_000;
/// How long a whole reply may take, in milliseconds.
pub const MODEL_TOTAL_MS: u64 = 600_000;
/// Largest reply of a model, text and tool calls together, in bytes.
pub const MODEL_REPLY_MAX_BYTES: usize = 262_144;
/// Most that a server may send for one reply with everything around it, in bytes.
pub const MODEL_STREAM_MAX_BYTES: usize = 33_554_432;
/// Longest line of a streamed reply, in bytes.
pub const MODEL_LINE_MAX_BYTES: usize = 524_288;
/// Most tool calls in one reply.
pub const MODEL_CALLS_MAX: usize = 32;
/// How much of a server's error is read, in bytes.
pub const MODEL_ERROR_MAX_BYTES: usize = 16_384;
/// How much of a server's error is shown, in characters.
pub const MODEL_ERROR_SHOWN_CHARS: usize = 300;
/// Pieces of a reply that wait for whoever reads it.
pub const MODEL_PIECES_WAITING_MAX: usize = 16;
/// Most configured models.
pub const MODELS_MAX: usize = 32;
/// Failures in a row after which a provider is left alone.
pub const MODEL_FAILURES_TO_REST: u32 = 3;
/// How long a provider is left alone at first, in milliseconds; each failed try doubles it.
pub const MODEL_REST_MS: u64 = 5_000;
/// How long a provider is left alone at most, in milliseconds.
pub const MODEL_REST_MAX_MS: u64 = 300_000;
/// Longest time for which a provider may ask to be left alone, in milliseconds.
pub const MODEL_RETRY_AFTER_MAX_MS: u64 = 3_600_000;
/// How often the same model is asked again before it has said anything.
pub const MODEL_RETRIES_MAX: u32 = 2;
/// How long is waited before the first of these, in milliseconds; twice as long before the second.
pub const MODEL_RETRY_MS: u64 = 400;
/// Longest time a provider may ask for between two tries of one question, in milliseconds; for a longer one the next
/// model is asked.
pub const MODEL_RETRY_WAIT_MAX_MS: u64 = 5_000;
/// Requests that one provider may have under way, where the configuration says nothing.
pub const MODEL_REQUESTS_AT_ONCE: usize = 4;
/// Most of them that may be configured.
pub const MODEL_REQUESTS_AT_ONCE_MAX: usize = 64;
/// How long a question waits for one of them to end before the next model is asked, in milliseconds.
pub const MODEL_TURN_MS: u64 = 30_000;
/// How long a question of this node waits before the request of another device ends that has the only turn of a
/// provider, in milliseconds.
pub const MODEL_YIELD_MS: u64 = 5_000;
/// Questions and answers before it that a question of a conversation takes along.
pub const CONVERSATION_PAIRS_MAX: usize = 4;
/// All of them together, in characters.
pub const CONVERSATION_MAX_CHARS: usize = 4_000;
/// How much of an earlier question is told, in characters.
pub const CONVERSATION_QUESTION_MAX_CHARS: usize = 400;
/// How much of an earlier answer is told, in characters.
pub const CONVERSATION_ANSWER_MAX_CHARS: usize = 1_200;
/// Longest id of a conversation, in characters.
pub const CONVERSATION_ID_MAX_CHARS: usize = 64;
/// Answers that come piece by piece and that the page of the window waits for at once.
pub const WINDOW_LINES_MAX: usize = 4;
/// Longest text with which a person tries the models, in characters.
pub const MODEL_TRY_MAX_CHARS: usize = 500;
/// Most that a model writes then, in tokens.
pub const MODEL_TRY_TOKENS: u32 = 128;
/// Most tries within the time below.
pub const MODEL_TRIES_MAX: usize = 10;
/// That time, in milliseconds.
pub const MODEL_TRIES_EVERY_MS: u64 = 60_000;
/// Longest secret of a provider, in bytes.
pub const CREDENTIAL_MAX_BYTES: usize = 4_096;
/// Most secrets of providers in one state directory.
pub const CREDENTIALS_MAX: usize = 64;
/// Largest file of them, in bytes.
pub const CREDENTIALS_FILE_MAX_BYTES: u64 = 1_048_576;
/// Shortest key for them that the service manager may give, in bytes.
pub const SERVICE_KEY_MIN_BYTES: usize = 32;
/// Longest such key, in bytes.
pub const SERVICE_KEY_MAX_BYTES: u64 = 4_096;
/// Largest file of certificates of authorities, in bytes.
pub const AUTHORITIES_FILE_MAX_BYTES: u64 = 1_048_576;
/// Longest topic of a message of an MQTT broker, in bytes.
pub const MQTT_TOPIC_MAX_BYTES: usize = 512;
/// Longest packet of an MQTT broker that is no message, in bytes; a topic and what stands around it fit in.
pub const MQTT_HEAD_MAX_BYTES: usize = 1_024;
/// Largest message of an MQTT broker that is read, with its topic, in bytes; a larger one is told of and skipped.
pub const MQTT_PAYLOAD_MAX_BYTES: usize = 65_536;
/// Largest message to an MQTT broker, in bytes.
pub const MQTT_SENT_MAX_BYTES: usize = 4_096;
/// Most readings of one MQTT broker.
pub const MQTT_READINGS_MAX: usize = 512;
/// Most actuators of one MQTT broker.
pub const MQTT_ACTUATORS_MAX: usize = 64;
/// Topics in one subscription; more of them take more packets.
pub const MQTT_TOPICS_AT_ONCE: usize = 50;
/// After which silence an MQTT broker takes us for gone, in seconds; it waits half as long again.
pub const MQTT_KEEP_ALIVE_SEC: u16 = 10;
/// How often an MQTT broker is asked whether it is there, in milliseconds.
pub const MQTT_PING_MS: u64 = 3_000;
/// After which silence an MQTT broker is gone for us, in milliseconds.
pub const MQTT_SILENCE_MAX_MS: u64 = 8_000;
/// How often the connection to an MQTT broker is looked at, in milliseconds.
pub const MQTT_LOOK_MS: u64 = 500;
/// How long the way to an MQTT broker may take, and its answers to the first packets, in milliseconds.
pub const MQTT_CONNECT_MS: u64 = 5_000;
/// How many addresses of an MQTT broker's name are tried.
pub const MQTT_ADDRESSES_TRIED_MAX: usize = 2;
/// The first pause before an MQTT broker is dialed again, in milliseconds; each further one is twice as long.
pub const MQTT_PAUSE_FIRST_MS: u64 = 200;
/// The longest pause before an MQTT broker is dialed again, in milliseconds.
pub const MQTT_PAUSE_MAX_MS: u64 = 5_000;
/// How long a connection to an MQTT broker stands before the next pause is a short one again, in milliseconds.
pub const MQTT_STEADY_MS: u64 = 10_000;
/// Most messages to an MQTT broker that wait for its acknowledgement, on one connection.
pub const MQTT_UNDER_WAY_MAX: usize = 16;
/// Bytes for an MQTT broker that wait to be sent, beyond which nothing more is read from it.
pub const MQTT_WAITING_MAX_BYTES: usize = 65_536;
/// Numbers of messages that are kept to know one that comes again.
pub const MQTT_RECENT_MAX: usize = 64;

//! Limits of the planner that asks a model.

/// Readings that a model is told of without asking.
pub const SITUATION_READINGS_MAX: usize = 40;
/// Actuators that a model is told of without asking.
pub const SITUATION_OFFERS_MAX: usize = 40;
/// Open proposals that a model is told of without asking.
pub const SITUATION_PROPOSALS_MAX: usize = 20;
/// Longest text of a device in what a model is told, in characters.
pub const SITUATION_LINE_MAX_CHARS: usize = 80;
/// Longest question to a planner, in characters.
pub const QUESTION_MAX_CHARS: usize = 2_000;
/// Longest answer of a model that is shown, in characters.
pub const MODEL_ANSWER_MAX_CHARS: usize = 8_000;
/// Longest result of a tool that a model is told, in characters.
pub const TOOL_RESULT_MAX_CHARS: usize = 6_000;
/// Replies of a model to one question: tools that it uses, replies that do not read, and the answer.
pub const MODEL_STEPS_MAX: usize = 8;
/// How often a model may do the same again while it answers one question.
pub const MODEL_REPEATS_MAX: usize = 2;
/// Tokens of one reply that a server is believed to have counted.
pub const TOKENS_SAID_MAX: u64 = 1_000_000_000;
/// Actions that a model may ask for while it answers one question.
pub const MODEL_WISHES_MAX: usize = 2;
/// Tokens that a model may write in one reply.
pub const MODEL_OUTPUT_TOKENS: u32 = 1_024;
/// Longest time in which one question is answered, in milliseconds: a small model on a field computer is slow.
pub const MODEL_TURN_MAX_MS: u64 = 300_000;
/// Triggers of a planner that wait, of machines and persons together.
pub const TRIGGERS_MAX: usize = 64;
/// Questions of one asker that wait.
pub const QUESTIONS_WAITING_MAX: usize = 4;
/// Answered questions that a node keeps.
pub const QUESTIONS_KEPT_MAX: usize = 50;
/// Proposals that wait for a person at which the planner stops asking for more by itself.
pub const PLANNER_WAITING_MAX: usize = 10;
/// How often a planner tells the others that it is there, in milliseconds.
pub const LEASE_EVERY_MS: u64 = 1_000;
/// How long a planner counts as there after it told, in milliseconds.
pub const LEASE_MS: u64 = 3_000;
/// How long a planner that stands by waits for the one that leads to ask for what both want, in milliseconds.
pub const STAND_BY_MS: u64 = 10_000;
/// From how long on a wish that is left to another planner is an alarm, in milliseconds.
pub const HELD_TOLD_MS: u64 = 60_000;
/// Wishes that a planner that stands by keeps in mind.
pub const STAND_BY_WISHES_MAX: usize = 64;
/// Questions of neighbours that are answered at the same time, and those that are passed on.
pub const FORWARDED_MAX: usize = 32;
/// How often a node asks what has been told of a question that it passed on, in milliseconds.
pub const FORWARDED_POLL_MS: u64 = 200;
/// How often a node looks which questions of other devices still count, in milliseconds.
pub const FORWARDED_LOOK_MS: u64 = 1_000;
/// How long a question is answered whose asker does not ask how it stands, in milliseconds.
pub const FORWARDED_REST_MS: u64 = 10_000;
/// For how long nothing is passed on to a planner that gave no answer in time.
pub const FORWARDED_STALLED_MS: u64 = 60_000;
/// Tasks that a planner tells of.
pub const LEASE_TASKS_MAX: usize = 128;
/// Other planners that a node keeps in mind.
pub const LEASES_MAX: usize = 32;
/// How much of its own earlier reply a model is shown again, in characters.
pub const REPLY_REPEATED_MAX_CHARS: usize = 1_000;
/// How long a time of a schedule lasts, in milliseconds: the minute that it names. One that was missed is not made up for.
pub const SLOT_MS: u64 = 60_000;
/// How old a time of a schedule may be when its executor is asked, in milliseconds.
pub const SLOT_AGE_MAX_MS: u64 = 300_000;
/// How far the clock of who asks may lie ahead of the executor's, in milliseconds; what the actuator did from so long
/// before a time on counts as done at it. Half of what lies between two times.
pub const SLOT_AHEAD_MAX_MS: u64 = 30_000;
/// How often is looked whether a time has come, in milliseconds.
pub const SLOT_LOOK_MS: u64 = 1_000;
/// Times of one schedule that are remembered as asked for.
pub const SLOTS_KEPT_MAX: usize = 64;
/// For how many days the next time of a schedule is looked for: eight years between two 29th of February, and a bit.
pub const SLOT_AHEAD_DAYS: u64 = 3_300;
/// Longest cron expression, in characters.
pub const CRON_MAX_CHARS: usize = 256;
/// Standing questions of a configuration.
pub const STANDING_MAX: usize = 32;
/// Longest pause between two looks of a standing question, in minutes.
pub const STANDING_EVERY_MAX_MIN: u64 = 10_080;
/// Answers to standing questions that a node keeps; those to persons keep the rest of the room.
pub const STANDING_KEPT_MAX: usize = 20;
/// Questions that wait until a model can be asked.
pub const LATER_MAX: usize = 20;
/// Those of one asker.
pub const LATER_OF_ONE_MAX: usize = 10;
/// How long one waits before it is given up, in milliseconds.
pub const LATER_MS: u64 = 86_400_000;
/// How often it is looked whether one may be asked, in milliseconds.
pub const LATER_LOOK_MS: u64 = 2_000;
/// How long is waited after the first try that failed, in milliseconds; each further one doubles it.
pub const LATER_TRY_AGAIN_MS: u64 = 5_000;
/// How long is waited between two tries at most, in milliseconds.
pub const LATER_TRY_AGAIN_MAX_MS: u64 = 300_000;
/// Tries after which one is given up.
pub const LATER_TRIES_MAX: u32 = 20;
/// How long a person who resumes the planner waits for the tries of its models, in milliseconds.
pub const RESUME_WAIT_MS: u64 = 2_000;
/// Longest name of a model that another planner asked, in the name of who wants an action, in characters.
pub const LED_NAME_MAX_CHARS: usize = 40;

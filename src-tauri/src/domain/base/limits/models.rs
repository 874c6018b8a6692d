//! Limits of models that devices use of each other, and of the model endpoint.

/// How long a server may take to say whether it is there, in milliseconds.
pub const MODEL_PROBE_MS: u64 = 10_000;
/// How often it is looked whether a model may be asked again while one is out, in milliseconds.
pub const MODEL_LOOK_MS: u64 = 2_000;
/// Messages of one request to a model of another device.
pub const MESH_MODEL_MESSAGES_MAX: usize = 512;
/// Text of one such request, in bytes.
pub const MESH_MODEL_PROMPT_MAX_BYTES: usize = 524_288;
/// The JSON schema of one such request, in bytes.
pub const MESH_MODEL_SCHEMA_MAX_BYTES: usize = 16_384;
/// What a model writes for another device that does not say how much, in tokens.
pub const MESH_MODEL_OUTPUT_TOKENS: u32 = 2_048;
/// The most it writes for another device, in tokens.
pub const MESH_MODEL_OUTPUT_TOKENS_MAX: u32 = 16_384;
/// Largest piece of a reply in one message, in bytes (gen-1 §10).
pub const MESH_MODEL_CHUNK_MAX_BYTES: usize = 8_192;
/// Pieces of a reply that are under way to a device of our own kind and that it has not taken, in bytes.
pub const MESH_MODEL_WINDOW_BYTES: usize = 65_536;
/// The same from a gen-1 node, which cannot be slowed: what is more ends the request (gen-1 §10).
pub const MESH_MODEL_WINDOW_GEN1_BYTES: usize = 1_048_576;
/// What a piece counts at least, in bytes, however small it is.
pub const MESH_MODEL_PIECE_MIN_BYTES: usize = 256;
/// Messages with pieces of replies that wait for the writer of a link.
pub const LINK_WORDS_MAX: usize = 4;
/// How long a device may take none of a reply before its request is ended, in milliseconds.
pub const MESH_MODEL_STALL_MS: u64 = 30_000;
/// How long a request of a gen-1 node may take, in milliseconds (gen-1 §10).
pub const MESH_MODEL_GEN1_MS: u64 = 120_000;
/// Requests of other devices that are answered at once, where the configuration says nothing: half of what a provider
/// takes, so that this node's own questions have the rest.
pub const MESH_MODEL_REQUESTS_AT_ONCE: usize = 2;
/// Most of them that may be configured.
pub const MESH_MODEL_REQUESTS_AT_ONCE_MAX: usize = 32;
/// Requests of one device in a day, where the configuration says nothing.
pub const MESH_MODEL_REQUESTS_PER_DAY: u64 = 500;
/// Tokens of one device in a day, read and written, where the configuration says nothing.
pub const MESH_MODEL_TOKENS_PER_DAY: u64 = 500_000;
/// Models of one other device that are known of.
pub const MESH_MODELS_OF_DEVICE_MAX: usize = 32;
/// Largest body of a request to the model endpoint, in bytes.
pub const COMPLETIONS_BODY_MAX_BYTES: usize = 1_048_576;
/// Messages of one such request.
pub const COMPLETIONS_MESSAGES_MAX: usize = 2_048;
/// Requests to the model endpoint that are answered at once.
pub const COMPLETIONS_AT_ONCE_MAX: usize = 8;
/// Requests to the model endpoint in a minute.
pub const COMPLETIONS_PER_MINUTE_MAX: u32 = 120;
/// What a model writes for the endpoint where the request does not say, in tokens.
pub const COMPLETIONS_OUTPUT_TOKENS: u32 = 4_096;
/// The most it writes, in tokens.
pub const COMPLETIONS_OUTPUT_TOKENS_MAX: u32 = 65_536;
/// Largest file of the model endpoint's token, in bytes.
pub const MODEL_TOKEN_FILE_MAX_BYTES: u64 = 256;

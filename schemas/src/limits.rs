//! Every limit of Spine, in one place. Over a limit: a numbered error at the door, nothing appended.

/// Bytes of a tenant name.
pub const TENANT_BYTES: usize = 63;
/// Bytes of any other identity: run, event, session, letter.
pub const ID_BYTES: usize = 128;
/// Bytes of a step's name, and of its scope.
pub const STEP_NAME_BYTES: usize = 128;
/// Bytes of a workflow name, version, tool, actor or queue name.
pub const NAME_BYTES: usize = 512;
/// Bytes of a payload that is stored inline.
pub const PAYLOAD_BYTES: usize = 256 * 1024;
/// Bytes of one encoded event.
pub const EVENT_BYTES: usize = 1024 * 1024;
/// Bytes of one encoded dead letter: the original and its history beside it.
pub const LETTER_BYTES: usize = 2 * EVENT_BYTES;
/// Entries of an attribute or tag map.
pub const ATTRIBUTES: usize = 64;
/// Bytes of one attribute or tag value.
pub const ATTRIBUTE_BYTES: usize = 1024;
/// HTTP statuses by which a tool says that nothing was applied.
pub const STATUSES: usize = 100;
/// Bytes of an error message or of a reason; longer ones are cut and marked.
pub const MESSAGE_BYTES: usize = 4096;
/// Nesting depth of JSON payloads.
pub const JSON_DEPTH: usize = 64;
/// Steps in one plan.
pub const PLAN_STEPS: usize = 1000;
/// Steps in one run.
pub const RUN_STEPS: usize = 10_000;
/// Levels of plans in plans, the outermost counted.
pub const PLAN_LEVELS: usize = 5;
/// Bytes of the plan of a run that is a step of another. An event has room for it, and for its input.
pub const CHILD_PLAN_BYTES: usize = 512 * 1024;
/// Predecessors of one plan step.
pub const PLAN_AFTER: usize = 100;
/// References in the input of one plan step. Asked of new plans only: one that is in the log is read
/// as it is.
pub const STEP_REFERENCES: usize = 256;
/// How often a run may ask its brain.
pub const BRAIN_TURNS: u32 = 1000;
/// Bytes of all answers of a brain to one run: its plan is read anew from them with every answer.
pub const BRAIN_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of what an answer of a brain keeps for the next turn.
pub const BRAIN_STATE_BYTES: usize = 32 * 1024;
/// Attempts that a retry policy may allow.
pub const MAX_ATTEMPTS: u32 = 1000;
/// Attempts whose history is kept per step: the first and the newest; the rest are counted.
pub const ATTEMPT_HISTORY: usize = 100;
/// Attempts lost in a row before a step counts as one that kills its workers.
pub const LOST_IN_ROW: u32 = 10;
/// Longest wait between two attempts, in milliseconds.
pub const BACKOFF_MS: u64 = 24 * 3600 * 1000;
/// Longest time-out of an attempt, and longest lease, in milliseconds.
pub const TIMEOUT_MS: u64 = 24 * 3600 * 1000;
/// Shortest lease that a worker may ask for, in milliseconds.
pub const WORKER_LEASE_MS: u64 = 1000;
/// Longest deadline of a step, in milliseconds.
pub const DEADLINE_MS: u64 = 366 * 24 * 3600 * 1000;
/// People who have to approve of one call.
pub const QUORUM: u32 = 16;
/// Operations remembered per session.
pub const SESSION_OPS: usize = 1024;
/// Sessions remembered per run.
pub const RUN_SESSIONS: usize = 16;
/// Operations in one journal request.
pub const JOURNAL_OPS: usize = 100;
/// Batches remembered per run, so that a later item finds its predecessor.
pub const RUN_BATCHES: usize = 8;
/// Event ids remembered per run, so that decisions are counted once.
pub const RUN_EVENT_IDS: usize = 10_000;
/// Closed letters of records that a partition remembers.
pub const DISPOSED_RECORDS: usize = 1000;
/// Events in one `POST /v1/events`.
pub const BATCH_EVENTS: usize = 50_000;
/// Bytes of any request body.
pub const BODY_BYTES: usize = 32 * 1024 * 1024;
/// Most bytes that decoding one record may allocate for a single length prefix.
pub const DECODE_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of the JSON text of one schema.
pub const SCHEMA_BYTES: usize = 256 * 1024;
/// Schemas that a process keeps beside the compiled-in ones.
pub const SCHEMAS: usize = 1000;
/// Fields and types of one schema, counted as often as they are used.
pub const SCHEMA_NODES: usize = 10_000;
/// Signals that a run keeps until a step awaits them, and the bytes that they hold together.
pub const RUN_SIGNALS: usize = 100;
/// See [`RUN_SIGNALS`].
pub const RUN_SIGNAL_BYTES: usize = 1024 * 1024;

//! The table of problems: number, name, HTTP status, title, and what to do. A number or a name that
//! was released is never given another meaning.

use std::fmt::Write as _;

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The code in JSON.
    pub number: u16,
    /// The stable name.
    pub name: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What it is, in a few words.
    pub title: &'static str,
    /// What the caller should do.
    pub remedy: &'static str,
    /// When to come back, if that alone may help.
    pub retry_after_s: Option<u32>,
}

/// When coming back may help, one second is enough for a queue to drain.
const fn retry_after(status: u16) -> Option<u32> {
    match status {
        429 | 503 => Some(crate::limits::RETRY_AFTER_S),
        _ => None,
    }
}

/// Defines the codes and their rows together, so that neither can lack the other.
macro_rules! codes {
    ($($number:literal $code:ident $name:literal $status:literal $title:literal $remedy:literal)+) => {
        /// What kind of problem it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Code {
            $(#[doc = $title] $code = $number,)+
        }

        impl Code {
            /// Every code, in the order of the numbers.
            pub const ALL: &'static [Self] = &[$(Self::$code),+];

            /// The row of this code.
            pub fn row(self) -> Row {
                match self {
                    $(Self::$code => Row {
                        number: $number,
                        name: $name,
                        status: $status,
                        title: $title,
                        remedy: $remedy,
                        retry_after_s: retry_after($status),
                    },)+
                }
            }
        }
    };
}

codes! {
    1001 RouteUnknown "route_unknown" 404 "There is no such route" "GET / lists the routes."
    1002 MethodUnknown "method_unknown" 405 "The route does not take this method" "See the Allow header."
    1003 MediaType "media_type" 415 "The body's media type is not supported" "Send application/json; to /v1/events also application/x-ndjson or application/avro."
    1004 BodyTooLarge "body_too_large" 413 "The body is too large" "Send less in one request."
    1005 BodySlow "body_slow" 408 "The body did not arrive in time" "Send it without long pauses."
    1006 ForeignHost "foreign_host" 403 "The Host is not ours" "Call the server by its own address and port; other names are set with --allow-host."
    1007 ForeignOrigin "foreign_origin" 403 "The Origin is not ours" "Call from a program, or from a page that this server gave."
    1008 BadQuery "bad_query" 400 "A parameter of the address is wrong" "The detail names it."
    1009 BadJson "bad_json" 400 "The body is not the JSON that this route takes" "The detail names the field or the place."
    1010 Busy "busy" 429 "Too much is going on" "Come back after the time in Retry-After."
    1011 TooManyEvents "too_many_events" 413 "Too many events in one request" "Split the batch; keep the events of a run in order."
    1012 EmptyBody "empty_body" 400 "The body holds no event" "Send one event a line, or an array of them."
    1013 HeadTooLarge "head_too_large" 431 "The headers are too large" "Send fewer or shorter ones."
    1014 BadRequest "bad_request" 400 "The request cannot be read" "Correct it; the detail says what is wrong."
    1015 BodyBroken "body_broken" 400 "The body ended early" "Send it again."
    1016 BadAvro "bad_avro" 400 "The body is not an Avro file that this route takes" "The detail names the place, or what its schema lacks."

    1101 InvalidField "invalid_field" 422 "A field is missing, wrong, or not allowed here" "The detail names the field."
    1102 ValueTooLarge "value_too_large" 422 "A value is over its limit" "Make it smaller; the detail names the field and the limit."
    1103 NewerThanBuild "newer_than_build" 422 "A kind or symbol that this build does not know" "Correct it, or upgrade the server."
    1104 NotAFact "not_a_fact" 422 "Only facts about record runs are taken here" "Use the route that the detail names."
    1105 OwnersField "owners_field" 422 "A field that only the server sets" "Leave it out."
    1106 BadTenant "bad_tenant" 422 "The tenant's name is not one" "Use [a-z0-9_-]{1,63}."
    1107 FaultsRefused "faults_refused" 422 "Faults are injected on test tenants only" "Leave faults out, or start the server with --test-tenant."
    1108 ToolRefused "tool_refused" 422 "The tool may not be called" "Allow its host in the configuration, or name another tool."
    1109 ReasonMissing "reason_missing" 422 "A reason is mandatory" "Say why, in the field reason."
    1110 BadEvents "bad_events" 422 "Some events were refused; none was appended" "Correct the listed lines and send the whole batch again."
    1111 DriverMissing "driver_missing" 422 "Nobody is named to drive the run" "Send steps for a plan, or driver: journal or record."
    1112 PolicyUnsupported "policy_unsupported" 422 "A journal step always ends as a dead letter when its retries are used up" "Leave on_exhausted out; the agent decides what follows."
    1113 NotAnEvent "not_an_event" 422 "The line is not a JSON event" "The detail says where it goes wrong."
    1114 IllegalEvents "illegal_events" 422 "The events are in the log, but some were set aside as illegal" "The listed events became dead letters; look at the run."
    1115 KeyReused "key_reused" 422 "The Idempotency-Key was used for another request" "Send the same content, or take another key."

    1201 RunAbsent "run_absent" 404 "There is no such run" "Check the id and the tenant; ?at_least= waits for the store."
    1202 StepAbsent "step_absent" 404 "There is no such step" "Check its name, scope and occurrence."
    1203 LetterAbsent "letter_absent" 404 "There is no such dead letter" "GET /v1/dead-letters lists them."
    1204 RunExists "run_exists" 409 "The run exists with other content" "Take another run_id, or send the same content."
    1205 RunEnded "run_ended" 409 "The run has ended" "Start another run."
    1206 WrongDriver "wrong_driver" 409 "The run's driver does not take this" "Use the route of the run's driver."
    1207 StepConflict "step_conflict" 409 "The step exists with another input" "Send the stored input, or name another occurrence."
    1208 StepState "step_state" 409 "The step's state does not allow it" "GET the run's why."
    1209 WrongAttempt "wrong_attempt" 409 "It is not the attempt in question" "GET the step for its newest attempt."
    1210 WrongLease "wrong_lease" 409 "It is not the lease in question" "Use the lease that came with the attempt."
    1211 LetterClosed "letter_closed" 409 "The letter is closed" "GET the letter for what became of it."
    1212 NeedsForce "needs_force" 409 "An effect may happen twice" "Find out what happened, then resolve it, or send force with a reason."
    1213 EditUnresolved "edit_unresolved" 409 "The input cannot change while an earlier attempt may have taken effect" "Resolve that attempt first."
    1214 OpReused "op_reused" 409 "The operation's number was used for another question" "Count op_id up for each new operation."
    1215 SessionGone "session_gone" 409 "The session was replaced or forgot the operation" "Begin a new session that names the one it replaces."
    1216 LimitReached "limit_reached" 409 "A limit of the run is reached" "Go on in another run."
    1217 GivenUp "given_up" 409 "The step was given up" "End the run."
    1218 BrokenBatch "broken_batch" 409 "An earlier item of the same request was refused" "Correct that one first."
    1219 Duplicate "duplicate" 409 "It was applied before" "Nothing is left to do."
    1220 LostRace "lost_race" 409 "The state moved on in the meantime" "Look at the run again."
    1221 Late "late" 409 "The outcome came too late and is kept as evidence" "Look at the run again."
    1222 NoClaim "no_claim" 409 "Only the owner of the partition decides this" "Leave it to the server."
    1223 OlderClaim "older_claim" 409 "The owner of the partition changed" "Try again."
    1224 ClaimLost "claim_lost" 409 "Another owner claimed the partition" "Try again."
    1225 TaskAbsent "task_absent" 404 "There is no such task" "GET /v1/tasks lists them."
    1226 TaskClosed "task_closed" 409 "The task is closed" "GET the task for what was decided."
    1227 RunEnding "run_ending" 409 "The run is being cancelled or undone" "GET the run's why; POST …/kill ends it at once."
    1228 WaitExpired "wait_expired" 409 "What was awaited did not come in time" "Decide what follows; another step may wait again."
    1229 InputUnresolved "input_unresolved" 409 "The references of the step's input point at nothing" "Redrive it with an input of its own, or complete or skip it."
    1230 VersionConflict "version_conflict" 409 "The run began with another version of the workflow" "Let an agent of that version drive it, or fork it with this one."
    1235 ApprovedAlready "approved_already" 409 "Whoever approves has done so already, and counts once" "Somebody else has to approve, too; GET the task for who has."
    1240 BrainAnswer "brain_answer" 409 "It is no answer that the run's plan can take from its brain" "Give {\"steps\": […]}, {\"done\": true} or {\"fail\": \"reason\"}; the names of steps must be new."

    1301 LogBusy "log_busy" 429 "The log has too many appends waiting" "Come back after the time in Retry-After."
    1302 LogFull "log_full" 503 "The log has no space for new work" "Make room on the disk."
    1303 LogStopped "log_stopped" 503 "The log stopped and takes nothing" "Restart the server; it is not known whether the events are there."
    1304 LogUnavailable "log_unavailable" 503 "The log cannot be reached" "Send again with the same Idempotency-Key: the events may be there."
    1305 VerdictLate "verdict_late" 503 "The request is in the log, its verdict is not there yet" "Ask for the run; sending again is safe where an id or op_id names it."
    1306 PartlyAppended "partly_appended" 503 "Some events were appended, others were not" "Send the batch again with the same event ids: what is there counts once."
    1307 StoreUnavailable "store_unavailable" 503 "The store cannot be used now" "Come back after the time in Retry-After."
    1308 NotReady "not_ready" 503 "The server is not ready" "Wait; the detail says for what."
    1309 NotStoredYet "not_stored_yet" 503 "The store has not caught up" "Come back after the time in Retry-After."
    1310 RequestTimeout "request_timeout" 503 "The request took too long" "Come back after the time in Retry-After; look whether it took effect."

    1311 NotOwner "not_owner" 421 "Another process owns the partition" "Ask the address in the claim."
    1312 NotStopped "not_stopped" 409 "The partition was not stopped" "Nothing is to be done."
    1313 PartitionAbsent "partition_absent" 404 "There is no such partition" "GET /v1/partitions lists them."

    1401 Internal "internal" 500 "The server has a fault" "Report it with the server's log."
    1402 LogDamaged "log_damaged" 500 "The log cannot be read" "Stop the server and restore; its log names file and offset."
    1403 LogMisused "log_misused" 500 "The log refused what the server asked" "Report it with the server's log."
    1404 StoreDamaged "store_damaged" 500 "The store cannot be read" "Remove the store; it is rebuilt from the log."
}

/// The page of error codes, in Markdown.
pub fn reference_text() -> String {
    let mut text = String::from(
        "# Error codes\n\nEvery refusal is `application/problem+json` with these in `code` and `name`.\n\n\
         | code | name | status | what it is | what to do |\n|---|---|---|---|---|\n",
    );
    for code in Code::ALL {
        let Row { number, name, status, title, remedy, retry_after_s: _ } = code.row();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {number} | `{name}` | {status} | {title} | {remedy} |");
    }
    text
}

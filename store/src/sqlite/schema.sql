CREATE TABLE meta (
  -- What this file is. One row per name; not part of comparisons.
  name  TEXT NOT NULL PRIMARY KEY, -- store_id, generation, fold_version
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE progress (
  -- How far each partition of the log is stored. Written in the transaction of the rows it covers.
  -- In every table: times are whole microseconds since 1970-01-01T00:00:00Z, 0 = none; '' and empty
  -- blobs = none; booleans are 0 and 1. No column is ever null.
  partition    INTEGER NOT NULL PRIMARY KEY,
  log_id       TEXT NOT NULL,    -- the log that it is about
  log_offset   INTEGER NOT NULL, -- newest stored event
  chain_before BLOB NOT NULL,    -- chain hash before that event
  chain        BLOB NOT NULL,    -- chain hash after it
  logged_at    INTEGER NOT NULL, -- log time of that event
  state        TEXT NOT NULL     -- folded state of the partition, JSON
) STRICT;

CREATE TABLE run_keys (
  -- The short number of a run: partition * 2^47 + offset of the first event that names it. Rows of
  -- other tables lie by this number, so that those of recent runs are neighbours.
  tenant TEXT NOT NULL,
  run_id TEXT NOT NULL,
  run    INTEGER NOT NULL,
  PRIMARY KEY (tenant, run_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE run_specs (
  -- The part of a run that never changes; written once.
  run            INTEGER NOT NULL PRIMARY KEY, -- as in run_keys
  workflow       TEXT NOT NULL,
  version        TEXT NOT NULL,
  driver         TEXT NOT NULL,    -- plan, journal or record
  parent         TEXT NOT NULL,    -- the run that made this one, '' = none
  tags           TEXT NOT NULL,    -- JSON object
  created_offset INTEGER NOT NULL, -- offset of its first event
  created_at     INTEGER NOT NULL, -- log time of its first event
  created_digest BLOB NOT NULL,    -- SHA-256 of all that the first event said
  input_digest   BLOB NOT NULL,    -- SHA-256, of the sorted-key form if JSON
  state          TEXT NOT NULL,    -- JSON of what has no column
  input          BLOB NOT NULL,    -- as received
  plan           BLOB NOT NULL     -- as received, empty = no plan
) STRICT;

CREATE TABLE runs (
  -- The part of a run that changes; written whole.
  run           INTEGER NOT NULL PRIMARY KEY, -- as in run_keys
  tenant        TEXT NOT NULL,
  run_id        TEXT NOT NULL,
  partition     INTEGER NOT NULL, -- partition of its events
  workflow      TEXT NOT NULL,    -- as in run_specs
  version       TEXT NOT NULL,    -- as in run_specs
  driver        TEXT NOT NULL,    -- as in run_specs
  status        TEXT NOT NULL,    -- running, waiting, completed, degraded, failed or cancelled
  waiting_for   TEXT NOT NULL,    -- what an open run waits for, names joined by commas
  steps_total         INTEGER NOT NULL,
  steps_completed     INTEGER NOT NULL,
  steps_failed        INTEGER NOT NULL,
  steps_dead_lettered INTEGER NOT NULL,
  attempts      INTEGER NOT NULL, -- attempts that were started
  cost_micros   INTEGER NOT NULL, -- integer micro-units of money
  tokens_in     INTEGER NOT NULL,
  tokens_out    INTEGER NOT NULL,
  decisions     INTEGER NOT NULL, -- recorded decisions
  started_at    INTEGER NOT NULL, -- log time of its first event
  ended_at      INTEGER NOT NULL, -- log time of its end, 0 = open
  last_offset   INTEGER NOT NULL, -- newest event that was applied to it
  last_at       INTEGER NOT NULL, -- log time of that event
  stalled_since INTEGER NOT NULL, -- of a stalled run: log time of the newest event that moved it, 0 = not stalled
  failed_step   TEXT NOT NULL,    -- the step that it failed with, '' = none
  error_class   TEXT NOT NULL,    -- '' = no error
  error_code    TEXT NOT NULL,
  error_message TEXT NOT NULL,
  output_digest BLOB NOT NULL,    -- empty = no output
  state         TEXT NOT NULL,    -- JSON of what has no column
  seen          BLOB NOT NULL,    -- hashes of the ids of counted decisions, 8 bytes each
  output        BLOB NOT NULL
) STRICT;

-- Lists go newest first; the number, which ends each index, tells runs of one time apart. All but
-- the status never change, so these are written once per run.
CREATE INDEX runs_by_start ON runs (started_at);
CREATE INDEX runs_by_tenant ON runs (tenant, started_at);
CREATE INDEX runs_by_workflow ON runs (workflow, started_at);
-- Most runs end completed; a list of those walks runs_by_start, since nearly every row fits.
CREATE INDEX runs_by_status ON runs (status, started_at) WHERE status <> 'completed';

CREATE TABLE steps (
  -- The steps of runs; each written whole with every change of its own. An ordinary table, since
  -- rows with payloads of some KB would spill from an index page.
  run              INTEGER NOT NULL, -- as in run_keys
  step             TEXT NOT NULL,    -- scope/name#occurrence
  status           TEXT NOT NULL,
  attempt          INTEGER NOT NULL, -- newest attempt, 0 = none yet
  charged          INTEGER NOT NULL, -- attempts that spent budget since the last redrive
  generation       INTEGER NOT NULL, -- how often it was redriven
  tool             TEXT NOT NULL,
  effect           TEXT NOT NULL,    -- pure, idempotent, probe or at_most_once
  scheduled_offset INTEGER NOT NULL, -- event that scheduled it
  scheduled_at     INTEGER NOT NULL,
  due_at           INTEGER NOT NULL, -- next attempt, 0 = does not wait for a time
  ended_at         INTEGER NOT NULL, -- 0 = not ended
  last_offset      INTEGER NOT NULL, -- newest event that was applied to it
  error_class      TEXT NOT NULL,    -- of the newest failed attempt, '' = none
  error_code       TEXT NOT NULL,
  error_message    TEXT NOT NULL,
  input_digest     BLOB NOT NULL,
  output_digest    BLOB NOT NULL,    -- empty = no output
  state            TEXT NOT NULL,    -- JSON: policy, limits, running attempt, attempts, letter
  input            BLOB NOT NULL,
  output           BLOB NOT NULL,
  PRIMARY KEY (run, step)
) STRICT;

CREATE TABLE events (
  -- The history of runs: one row per event, whatever became of it. The bytes are in the log.
  run        INTEGER NOT NULL, -- as in run_keys
  log_offset INTEGER NOT NULL,
  logged_at  INTEGER NOT NULL, -- log time
  kind       TEXT NOT NULL,    -- for example step_started
  step       TEXT NOT NULL,    -- '' = about the run
  attempt    INTEGER NOT NULL, -- -1 = about none
  actor      TEXT NOT NULL,    -- who said so
  verdict    TEXT NOT NULL,    -- applied, stale, refused or illegal
  reason     TEXT NOT NULL,    -- why it was not applied, '' = none
  PRIMARY KEY (run, log_offset)
) STRICT, WITHOUT ROWID;

CREATE TABLE decisions (
  -- What agents decided and on what grounds, in the order of the log.
  run           INTEGER NOT NULL, -- as in run_keys
  log_offset    INTEGER NOT NULL,
  logged_at     INTEGER NOT NULL,
  actor         TEXT NOT NULL, -- who appended it
  step          TEXT NOT NULL, -- '' = of the run
  decision      TEXT NOT NULL, -- the choice
  request       TEXT NOT NULL, -- what was asked
  agent         TEXT NOT NULL, -- who decided
  reasoning     TEXT NOT NULL,
  action        TEXT NOT NULL, -- what is to be done
  error         TEXT NOT NULL, -- '' = none
  confidence    REAL NOT NULL, -- 0 to 1, -1 = not said
  params_digest BLOB NOT NULL, -- empty = none
  result_digest BLOB NOT NULL, -- empty = none
  state         TEXT NOT NULL, -- JSON of what has no column
  params        BLOB NOT NULL, -- arguments of the action, as received
  result        BLOB NOT NULL,
  PRIMARY KEY (run, log_offset)
) STRICT, WITHOUT ROWID;

CREATE TABLE dead_letters (
  -- What waits for a person: letters (the original bytes are in the dead-letter topic) and questions.
  letter_id     BLOB NOT NULL PRIMARY KEY, -- SHA-256; hex() gives the id that commands take
  kind          TEXT NOT NULL,    -- step, record or task
  status        TEXT NOT NULL,    -- open, redriven, resolved, discarded or decided
  partition     INTEGER NOT NULL,
  source_offset INTEGER NOT NULL, -- the original: the event that scheduled the step, or the record
  log_offset    INTEGER NOT NULL, -- the deciding event
  tenant        TEXT NOT NULL,    -- '' = the record names none
  run_id        TEXT NOT NULL,    -- '' = the record names none
  step          TEXT NOT NULL,    -- '' = a record
  class         TEXT NOT NULL,    -- error class
  code          TEXT NOT NULL,    -- error code, for grouping
  message       TEXT NOT NULL,
  generation    INTEGER NOT NULL, -- redrive generation of the step
  attempts      INTEGER NOT NULL,
  attempts_json TEXT NOT NULL,    -- every attempt with times and error
  tool          TEXT NOT NULL,    -- '' = none
  dead_at       INTEGER NOT NULL, -- log time of the deciding event
  closed_at     INTEGER NOT NULL, -- 0 = open
  closed_by     TEXT NOT NULL,
  closed_reason TEXT NOT NULL,
  given         TEXT NOT NULL     -- columns whose value was given and is empty, nearly always ''
) STRICT, WITHOUT ROWID;

CREATE INDEX dead_letters_by_time
  ON dead_letters (dead_at, partition, log_offset, letter_id);
CREATE INDEX dead_letters_by_status
  ON dead_letters (status, dead_at, partition, log_offset, letter_id);
CREATE INDEX dead_letters_by_tenant
  ON dead_letters (tenant, dead_at, partition, log_offset, letter_id);

CREATE TABLE timers (
  -- When the owner next has something to decide for an open run without any new event.
  partition INTEGER NOT NULL,
  tenant    TEXT NOT NULL,
  run_id    TEXT NOT NULL,
  due_at    INTEGER NOT NULL, -- any value, 0 included, is a time
  PRIMARY KEY (partition, tenant, run_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX timers_by_due ON timers (partition, due_at, tenant, run_id);

CREATE TABLE open_runs (
  -- One row per run that has not ended.
  partition INTEGER NOT NULL,
  tenant    TEXT NOT NULL,
  run_id    TEXT NOT NULL,
  PRIMARY KEY (partition, tenant, run_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE refusals (
  -- Requests that the state did not allow, with the answer that was given.
  partition  INTEGER NOT NULL,
  log_offset INTEGER NOT NULL,
  tenant     TEXT NOT NULL, -- '' = named no run
  run_id     TEXT NOT NULL, -- '' = named no run
  reason     TEXT NOT NULL,
  answer     TEXT NOT NULL, -- JSON, '' = none
  logged_at  INTEGER NOT NULL,
  PRIMARY KEY (partition, log_offset)
) STRICT, WITHOUT ROWID;

CREATE VIEW runs_readable AS
  -- Runs with times as text and without blobs.
  SELECT tenant, run_id, workflow, version, driver, status, waiting_for,
    steps_completed || '/' || steps_total AS steps, steps_failed, steps_dead_lettered,
    attempts, cost_micros, tokens_in, tokens_out, decisions,
    strftime('%Y-%m-%dT%H:%M:%fZ', started_at / 1e6, 'unixepoch') AS started_at,
    iif(ended_at = 0, '', strftime('%Y-%m-%dT%H:%M:%fZ', ended_at / 1e6, 'unixepoch')) AS ended_at,
    iif(stalled_since = 0, '', strftime('%Y-%m-%dT%H:%M:%fZ', stalled_since / 1e6, 'unixepoch'))
      AS stalled_since,
    failed_step, error_class, error_code, error_message, CAST(output AS TEXT) AS output,
    partition, last_offset
  FROM runs;

CREATE VIEW steps_readable AS
  -- Steps with times and payloads as text.
  SELECT tenant, run_id, step, status, attempt, tool, effect,
    strftime('%Y-%m-%dT%H:%M:%fZ', scheduled_at / 1e6, 'unixepoch') AS scheduled_at,
    iif(due_at = 0, '', strftime('%Y-%m-%dT%H:%M:%fZ', due_at / 1e6, 'unixepoch')) AS due_at,
    iif(ended_at = 0, '', strftime('%Y-%m-%dT%H:%M:%fZ', ended_at / 1e6, 'unixepoch')) AS ended_at,
    error_class, error_code, error_message,
    CAST(input AS TEXT) AS input, CAST(output AS TEXT) AS output, last_offset
  FROM steps JOIN run_keys USING (run);

CREATE VIEW events_readable AS
  -- Events with times as text.
  SELECT tenant, run_id, run >> 47 AS partition, log_offset,
    strftime('%Y-%m-%dT%H:%M:%fZ', logged_at / 1e6, 'unixepoch') AS logged_at,
    kind, step, iif(attempt < 0, '', attempt) AS attempt, actor, verdict, reason
  FROM events JOIN run_keys USING (run);

CREATE VIEW decisions_readable AS
  -- Decisions with times and payloads as text.
  SELECT tenant, run_id, log_offset,
    strftime('%Y-%m-%dT%H:%M:%fZ', logged_at / 1e6, 'unixepoch') AS logged_at,
    agent, decision, action, CAST(params AS TEXT) AS params, confidence, reasoning, request,
    CAST(result AS TEXT) AS result, error, step, actor
  FROM decisions JOIN run_keys USING (run);

CREATE VIEW dead_letters_readable AS
  -- Letters with their ids and times as text.
  SELECT lower(hex(letter_id)) AS letter_id, kind, status, tenant, run_id, step, class, code,
    message, attempts, tool, generation,
    strftime('%Y-%m-%dT%H:%M:%fZ', dead_at / 1e6, 'unixepoch') AS dead_at,
    iif(closed_at = 0, '', strftime('%Y-%m-%dT%H:%M:%fZ', closed_at / 1e6, 'unixepoch')) AS closed_at,
    closed_by, closed_reason, partition, source_offset, log_offset
  FROM dead_letters;

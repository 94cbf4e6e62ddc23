-- What the operator's pages need to know: every attempt, who paused and who replayed and why, faults that are alike.

-- Every attempt of a handler that failed. Rows are kept as long as the inbox is.
CREATE TABLE attempt_history (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    worker text NOT NULL,
    event_id text NOT NULL,
    replay_id text NOT NULL DEFAULT '',
    counted boolean NOT NULL,              -- it cost the event an attempt
    error_class text NOT NULL,
    error_code text NOT NULL,              -- our own name of the error
    error_text text NOT NULL,
    host text NOT NULL,                    -- of the process
    began_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL,
    next_at timestamptz                    -- when the next one was to begin; NULL: it was the last one
);
CREATE INDEX attempt_history_event ON attempt_history (event_id);
CREATE INDEX attempt_history_ended ON attempt_history (ended_at);

ALTER TABLE inbox ADD COLUMN host text;    -- of the process that ended it; NULL: an older version did
ALTER TABLE pauses ADD COLUMN by text, ADD COLUMN reason text;
ALTER TABLE replays ADD COLUMN by text;
CREATE INDEX replays_started ON replays (started_at DESC, id);

-- Letters of one fingerprint have the same fault. NULL: an older version buried it; the daemon fills it in.
ALTER TABLE dead_letters ADD COLUMN fingerprint text, ADD COLUMN error_code text NOT NULL DEFAULT '';
CREATE INDEX dead_letters_fingerprint ON dead_letters (fingerprint, worker, id) WHERE state = 'open';
CREATE INDEX dead_letters_unprinted ON dead_letters (id) WHERE fingerprint IS NULL;

-- What went in and out in each minute, and how far behind each worker was; a day of it.
CREATE TABLE flow_minutes (
    minute timestamptz NOT NULL,
    direction text NOT NULL CHECK (direction IN ('in', 'out')),
    name text NOT NULL,                    -- in: the webhook source; out: the worker
    outcome text NOT NULL,
    n bigint NOT NULL,
    PRIMARY KEY (minute, direction, name, outcome)
);
CREATE TABLE lag_minutes (
    minute timestamptz NOT NULL,
    worker text NOT NULL,
    at timestamptz NOT NULL,               -- when it was measured last in that minute
    unread bigint NOT NULL,                -- entries of its streams that it has not been given
    pending bigint NOT NULL,               -- that it has, and has not ended with
    oldest_s float8 NOT NULL,              -- for how long the oldest of them has waited
    PRIMARY KEY (minute, worker)
);

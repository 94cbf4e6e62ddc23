-- What the bus keeps in Postgres. Daily partitions of inbox and event_journal are made by ensure_days().

CREATE TABLE ferryman_meta (
    key text PRIMARY KEY,
    value text NOT NULL
);

-- The epoch is the fencing token: it grows with every owner and is checked inside the transaction that writes results.
CREATE TABLE leases (
    worker text NOT NULL,
    partition int NOT NULL,
    epoch bigint NOT NULL,
    owner text NOT NULL,
    acquired_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (worker, partition)
);

-- One row per event that a worker has finished with: what makes a second delivery harmless.
CREATE TABLE inbox (
    worker text NOT NULL,
    event_id text NOT NULL,
    replay_id text NOT NULL DEFAULT '',
    outcome text NOT NULL CHECK (outcome IN ('done', 'skipped', 'dead', 'uncertain')),
    reason text,
    attempts int NOT NULL DEFAULT 0,
    data_hash bytea NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (event_id, worker, replay_id, at)
) PARTITION BY RANGE (at);
CREATE TABLE inbox_default PARTITION OF inbox DEFAULT;

-- Failed attempts of events that are still open.
CREATE TABLE attempts (
    worker text NOT NULL,
    event_id text NOT NULL,
    replay_id text NOT NULL DEFAULT '',
    attempts int NOT NULL,
    error_class text NOT NULL,
    error_text text NOT NULL,
    next_at timestamptz NOT NULL,
    begun int NOT NULL DEFAULT 0,  -- times it was begun under suspicion and not ended: the process died
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (worker, event_id, replay_id)
);

-- Events emitted by a commit and not yet known to be on the stream.
CREATE TABLE outbox (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL,
    type text NOT NULL,
    source text NOT NULL,
    subject text NOT NULL,
    time timestamptz NOT NULL,
    data text NOT NULL,
    traceparent text NOT NULL,
    causationid text NOT NULL,
    schemaversion int NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Events accepted while Redis was away, in the order of their arrival.
CREATE TABLE spool (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL,
    type text NOT NULL,
    source text NOT NULL,
    subject text NOT NULL,
    time timestamptz NOT NULL,
    data text NOT NULL,
    traceparent text NOT NULL,
    causationid text NOT NULL,
    schemaversion int NOT NULL,
    spooled_at timestamptz NOT NULL DEFAULT now()
);

-- Payloads too large for a stream entry, which then carries a reference.
CREATE TABLE payloads (
    event_id text NOT NULL,
    digest bytea NOT NULL,
    data text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (event_id, digest)
);

CREATE SEQUENCE event_journal_seq;
CREATE TABLE event_journal (
    id text NOT NULL,
    type text NOT NULL,
    source text NOT NULL,
    subject text NOT NULL,
    time timestamptz NOT NULL,
    data text NOT NULL,
    traceparent text NOT NULL,
    causationid text NOT NULL,
    schemaversion int NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    seq bigint NOT NULL DEFAULT nextval('event_journal_seq'),
    PRIMARY KEY (id, recorded_at)
) PARTITION BY RANGE (recorded_at);
CREATE TABLE event_journal_default PARTITION OF event_journal DEFAULT;
CREATE INDEX event_journal_type_time ON event_journal (type, time);
CREATE INDEX event_journal_subject ON event_journal (subject);
CREATE INDEX event_journal_seq_order ON event_journal (seq);

-- Replays that an operator asked for; one that was interrupted goes on after its cursor.
CREATE TABLE replays (
    id text PRIMARY KEY,
    worker text NOT NULL,
    filter jsonb NOT NULL,
    total bigint NOT NULL,
    published bigint NOT NULL DEFAULT 0,
    cursor bigint NOT NULL DEFAULT 0,
    until bigint NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);

-- The same id seen again with another body: the first one counts, the other one is kept for a person to look at.
CREATE TABLE event_conflicts (
    event_id text NOT NULL,
    data_hash bytea NOT NULL,
    source text NOT NULL,
    data text NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (event_id, data_hash)
);

-- Workers and providers that an operator has stopped.
CREATE TABLE pauses (
    name text PRIMARY KEY,
    paused_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    worker text NOT NULL,
    event_id text NOT NULL,
    replay_id text NOT NULL DEFAULT '',
    type text NOT NULL,
    source text NOT NULL,
    subject text NOT NULL,
    time timestamptz NOT NULL,
    data text NOT NULL,
    traceparent text NOT NULL,
    causationid text NOT NULL,
    schemaversion int NOT NULL,
    error_class text NOT NULL,
    error_text text NOT NULL,
    attempts int NOT NULL,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'retried', 'discarded')),
    buried_at timestamptz NOT NULL DEFAULT now(),
    settled_at timestamptz,
    UNIQUE (worker, event_id, replay_id)
);
CREATE INDEX dead_letters_open ON dead_letters (worker, error_class, error_text) WHERE state = 'open';

-- Requests that were not accepted, and why. Headers are masked; the body is never kept, only its size and digest.
CREATE TABLE refused_requests (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL,
    reason text NOT NULL,
    status int NOT NULL,
    remote text,
    headers jsonb NOT NULL,
    body_bytes bigint,
    body_sha256 text,
    suppressed int NOT NULL DEFAULT 0,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX refused_requests_at ON refused_requests (at);
COMMENT ON COLUMN refused_requests.suppressed IS 'how many more of this source and reason were refused, and not kept, since the row before';

-- Records that apps and branch offices write while they are offline: their state, the feed of their changes, the
-- operations that changed them, and the queue of an edge to its upstream.

-- The counter of all changes. A push takes its numbers here, in the one statement that writes, and holds the row until
-- its commit is visible: whoever has seen number n + 1 can see n.
CREATE TABLE sync_clock (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    seq bigint NOT NULL DEFAULT 0,
    horizon bigint NOT NULL DEFAULT 0,          -- the highest number that compaction has taken away
    feed uuid NOT NULL DEFAULT gen_random_uuid(),
    epoch int NOT NULL DEFAULT 1                -- raised by hand: every replica begins anew
) WITH (fillfactor = 10);
INSERT INTO sync_clock DEFAULT VALUES;

-- Proof of a history: a cursor carries the mark of the head that it was made at. A database that was restored from
-- before that moment does not know the mark.
CREATE TABLE sync_marks (
    seq bigint PRIMARY KEY,
    mark uuid NOT NULL DEFAULT gen_random_uuid(),
    at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE records (
    model text NOT NULL,
    record_id text NOT NULL,
    version bigint NOT NULL,                    -- grows by one with each operation that was applied here
    prev bigint NOT NULL,                       -- the version that the last write has replaced: its compare-and-swap
    seq bigint NOT NULL,
    owner_id text,
    branch text,
    deleted boolean NOT NULL DEFAULT false,
    erased boolean NOT NULL DEFAULT false,      -- for privacy: it has no data and never revives
    data jsonb NOT NULL DEFAULT '{}',
    stamps text NOT NULL DEFAULT '{}',          -- {"field": [ms, counter, origin, version, peer, foreign]}; read and written whole
    up_version bigint,                          -- on an edge: the version of the upstream that this row is made of
    changed_at timestamptz NOT NULL,            -- when its author has changed it, by our clock
    deleted_at timestamptz,                     -- when it was deleted here, by our clock
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (model, record_id)
);
CREATE INDEX records_seq ON records (seq);
CREATE INDEX records_owner ON records (owner_id, seq);
CREATE INDEX records_branch ON records (branch, seq) WHERE branch IS NOT NULL;
CREATE INDEX records_deleted ON records (deleted_at, seq) WHERE deleted;

-- Readers whom a record has left: 'o:OWNER' and 'b:BRANCH'. They are told to drop it, and nothing of it.
CREATE TABLE sync_exits (
    audience text NOT NULL,
    model text NOT NULL,
    record_id text NOT NULL,
    seq bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (audience, model, record_id)
);
CREATE INDEX sync_exits_seq ON sync_exits (audience, seq);
CREATE INDEX sync_exits_number ON sync_exits (seq);     -- what is new, for whoever waits
CREATE INDEX sync_exits_at ON sync_exits (at);

-- The ledger of operations: what was answered, never what was sent.
CREATE TABLE sync_ops (
    user_id text NOT NULL,
    op_id uuid NOT NULL,
    replica text NOT NULL,
    model text NOT NULL,
    record_id text NOT NULL,
    digest bytea NOT NULL,                      -- of operation, model, record and data
    result text NOT NULL,                       -- applied | conflict
    decision text,
    version bigint,                             -- of the record after it
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, op_id)
);
CREATE INDEX sync_ops_at ON sync_ops (at);
CREATE INDEX sync_ops_record ON sync_ops (model, record_id, at DESC);

-- Values that met. `ours` was stored here, `theirs` came with the operation. decision NULL: it waits for a person.
CREATE TABLE sync_conflicts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model text NOT NULL,
    record_id text NOT NULL,
    user_id text NOT NULL,
    op_id uuid NOT NULL,
    operation text NOT NULL,
    owner_id text,                              -- of the record, when it arose
    base_version bigint,
    version bigint,                             -- of the record when it arose
    base jsonb,
    ours jsonb,                                 -- NULL: it was deleted here, or is not known
    theirs jsonb,                               -- NULL: it was a DELETE
    fields text[] NOT NULL DEFAULT '{}',        -- the fields that met
    strategy text NOT NULL,
    decision text,                              -- ours | theirs | merged | gone; NULL: open
    decided_at timestamptz,
    decided_by text,                            -- 'rule', or a user
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (user_id, op_id)
);
CREATE INDEX sync_conflicts_open ON sync_conflicts (id) WHERE decision IS NULL;
CREATE INDEX sync_conflicts_record ON sync_conflicts (model, record_id, id DESC);
CREATE INDEX sync_conflicts_created_at ON sync_conflicts (created_at);

-- Who pushes: a replica belongs to one principal. `ack` is what it must send with its next push; `ack_before` where the
-- answer to its last push was lost: then that push comes again, and has one of `op_ids`.
CREATE TABLE sync_replicas (
    replica text PRIMARY KEY,
    principal text NOT NULL,                    -- 'user:NAME', 'edge:NAME'
    ack uuid,
    ack_before uuid,
    op_ids uuid[] NOT NULL DEFAULT '{}',        -- of its last push
    pushed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- An edge's operations for its upstream, written with the records that they changed.
CREATE TABLE sync_queue (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    op_id uuid NOT NULL UNIQUE,
    operation text NOT NULL,
    model text NOT NULL,
    record_id text NOT NULL,
    data jsonb,
    user_id text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    synced_at timestamptz,                      -- when the upstream has answered it for good
    error text,
    retry_count int NOT NULL DEFAULT 0,
    state text NOT NULL DEFAULT 'pending',      -- pending | synced | conflict | failed
    next_at timestamptz NOT NULL DEFAULT now(),
    base_version bigint NOT NULL,               -- of the upstream
    base jsonb,
    changed_at timestamptz NOT NULL,
    tick int NOT NULL DEFAULT 0,
    origin text NOT NULL,
    reason text,                                -- of a rejection, by its short name
    acked_version bigint,                       -- of the upstream, after it
    settled boolean NOT NULL DEFAULT false      -- the upstream's row that holds it has been pulled
);
CREATE INDEX sync_queue_pending ON sync_queue (id) WHERE state = 'pending';
CREATE INDEX sync_queue_open ON sync_queue (model, record_id, id) WHERE NOT settled;
CREATE INDEX sync_queue_record ON sync_queue (model, record_id, id);
CREATE INDEX sync_queue_synced_at ON sync_queue (synced_at) WHERE synced_at IS NOT NULL;
CREATE INDEX sync_queue_failed ON sync_queue (state, id) WHERE state IN ('failed', 'conflict');

-- The upstream's row, while an operation of ours on it is open: what the record is made of anew.
CREATE TABLE sync_base (
    model text NOT NULL,
    record_id text NOT NULL,
    up_version bigint NOT NULL,
    deleted boolean NOT NULL,
    owner_id text,
    branch text,
    data jsonb,
    stamps text,
    PRIMARY KEY (model, record_id)
);

-- What an edge remembers of its upstream.
CREATE TABLE sync_upstream (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    replica uuid NOT NULL DEFAULT gen_random_uuid(),
    ack text,
    cursor text,
    rebuilding text,                            -- the cursor of a base that is built anew; NULL: none is
    rebuild_reason text,
    generation int NOT NULL DEFAULT 0,         -- how often it was built anew
    step bigint NOT NULL DEFAULT 0,             -- grows with each write of this side: its compare-and-swap
    url text,                                   -- the upstream that all this is about
    online boolean,                             -- whether the last exchange was one
    last_sync_at timestamptz,                   -- when a round was last complete
    last_error text
);
INSERT INTO sync_upstream DEFAULT VALUES;

-- The records that a base that is built anew has seen so far: the others are gone at its end.
CREATE TABLE sync_seen (
    model text NOT NULL,
    record_id text NOT NULL,
    PRIMARY KEY (model, record_id)
);

-- The phone lines of the people whom records are about, as the worker `record-sync` has found them. Who has the line is
-- in contact_identities: so a merge of contacts, its undoing and a contact that comes later need no change here.
CREATE TABLE record_people (
    model text NOT NULL,
    record_id text NOT NULL,
    seq bigint NOT NULL,                        -- of the record, when it was looked at last
    line text,                                  -- NULL: it names no phone, or is deleted
    PRIMARY KEY (model, record_id)
);
CREATE INDEX record_people_line ON record_people (line) WHERE line IS NOT NULL;

-- Bearer tokens of people and of edges. The token itself is nowhere: only its SHA-256 is.
CREATE TABLE tokens (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest bytea NOT NULL UNIQUE,
    hint text NOT NULL,                         -- its last four characters
    kind text NOT NULL CHECK (kind IN ('user', 'edge')),
    name text NOT NULL,
    role text NOT NULL CHECK (role IN ('read', 'operate', 'admin')),
    owners text[] NOT NULL DEFAULT '{}',        -- of an edge: whose records it carries
    branch text,                                -- of an edge: which branch's; of a person: where they work
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    expires_at timestamptz,
    used_at timestamptz,
    revoked_at timestamptz,
    revoked_by text
);
CREATE INDEX tokens_name ON tokens (kind, name);

-- The queue as the operators of the fifth seed document ask for it.
CREATE VIEW syncqueue AS
SELECT id, operation, model, record_id AS recordid, data, user_id AS userid, created_at AS createdat,
       synced_at AS syncedat, error, retry_count AS retrycount
FROM sync_queue;

-- Outgoing webhooks: who is told of what, and each event that one of them is to be told of.

CREATE TABLE subscribers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    url text NOT NULL,
    types text[] NOT NULL,                      -- 'message.sent', 'message.*'
    is_full boolean NOT NULL DEFAULT false,     -- bodies with the whole event; else ids, states and times alone
    secrets bytea NOT NULL,                     -- sealed (daemon/stores/seal.py); the key is never in the database
    key_id text NOT NULL,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled')),
    disabled_at timestamptz,
    disabled_by text,
    disabled_why text,
    failures int NOT NULL DEFAULT 0,            -- attempts that failed since the last success
    failing_since timestamptz,                  -- the first of them
    noticed_at timestamptz,                     -- when it was told that it fails for long
    last_success_at timestamptz,
    not_before timestamptz,                     -- nothing goes there before: it fails, or asked for a pause
    leased_by text,                             -- the process that delivers to it now
    leased_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL
);

CREATE TABLE webhook_deliveries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subscriber_id bigint NOT NULL REFERENCES subscribers ON DELETE CASCADE,
    event_id text NOT NULL,
    replay_id text NOT NULL DEFAULT '',
    type text NOT NULL,
    key text NOT NULL,                          -- deliveries of one key go out in the order of their ids
    body text NOT NULL,                         -- as it is sent, the same on every try
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'failed', 'skipped')),
    next_at timestamptz NOT NULL DEFAULT 'infinity',    -- 'infinity': behind another one of its key
    attempts int NOT NULL DEFAULT 0,
    last_at timestamptz,
    status int,                                 -- of the last answer
    error text,                                 -- our code for why the last attempt failed
    answer text,                                -- its first KB, cleaned
    ms int,
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    UNIQUE (subscriber_id, event_id, replay_id)
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (subscriber_id, next_at, id) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_lane ON webhook_deliveries (subscriber_id, key, id) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_state ON webhook_deliveries (subscriber_id, state, id);
CREATE INDEX webhook_deliveries_key ON webhook_deliveries (key);
CREATE INDEX webhook_deliveries_ended ON webhook_deliveries (ended_at) WHERE ended_at IS NOT NULL;

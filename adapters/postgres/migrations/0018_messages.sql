-- Messages to people and from them, and what became of those that we have sent.

CREATE TABLE messages (
    id uuid PRIMARY KEY,
    direction text NOT NULL CHECK (direction IN ('out', 'in')),
    status text NOT NULL CHECK (status IN ('queued', 'sending', 'uncertain', 'sent', 'failed', 'delivered', 'read',
                                           'played', 'skipped', 'canceled', 'received')),
    provider text NOT NULL,
    account text NOT NULL DEFAULT 'default',
    phone text,                                 -- E.164; NULL: an inbound message of a person without one
    kind text NOT NULL,                         -- text, template, media, choices; of inbound ones also other kinds
    content jsonb NOT NULL,
    purpose text NOT NULL,                      -- who asked for it: api, cli, a rule of messages.toml, a campaign
    provider_message_id text,
    error text,
    error_code text,
    attempts int NOT NULL DEFAULT 0,            -- how often it was claimed
    not_before timestamptz,
    released_at timestamptz,                    -- when it went to its worker; NULL: it waits for not_before
    event_id text NOT NULL,                     -- that brings it to its worker, or that brought it here
    created_at timestamptz NOT NULL DEFAULT now(),
    claimed_at timestamptz,
    sent_at timestamptz,
    delivered_at timestamptz,
    read_at timestamptz,
    failed_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX messages_provider_message_id ON messages (provider, provider_message_id)
    WHERE provider_message_id IS NOT NULL;
CREATE INDEX messages_phone ON messages (phone, created_at DESC);
CREATE INDEX messages_created_at ON messages (created_at DESC, id);
CREATE INDEX messages_scheduled ON messages (not_before) WHERE released_at IS NULL AND status = 'queued';
CREATE INDEX messages_open ON messages (status, created_at) WHERE status IN ('queued', 'sending', 'uncertain');

-- Every status that a provider has told once, also of messages that are not known here yet.
CREATE TABLE delivery_updates (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id uuid REFERENCES messages (id) ON DELETE CASCADE,
    provider text NOT NULL,
    provider_message_id text NOT NULL,
    status text NOT NULL,
    error_code text,
    error text,
    at timestamptz NOT NULL,
    event_id text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (provider, provider_message_id, status)
);
CREATE INDEX delivery_updates_message_id ON delivery_updates (message_id) WHERE message_id IS NOT NULL;

-- When a person has written last, by each system: for 24 hours from then on, free text reaches them there.
CREATE TABLE customer_windows (
    line text NOT NULL,                         -- the phone line: one for all its notations
    system text NOT NULL,
    written_at timestamptz NOT NULL,
    PRIMARY KEY (line, system)
);

-- The answers to requests that came with an Idempotency-Key.
CREATE TABLE idempotency_keys (
    key text PRIMARY KEY,
    digest bytea NOT NULL,                      -- of the request's content
    message_id uuid NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now()
);

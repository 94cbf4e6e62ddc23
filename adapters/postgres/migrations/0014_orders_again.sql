-- Orders whose sync is run again: by an operator, or by the reconciler.

-- A bulk sync that was interrupted goes on after its cursor.
CREATE TABLE sync_runs (
    id text PRIMARY KEY,                  -- also the replay id of its events
    filter jsonb NOT NULL,
    total bigint NOT NULL,
    sent bigint NOT NULL DEFAULT 0,
    cursor text NOT NULL DEFAULT '',      -- the id of the last order that was sent
    begun_by text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
CREATE INDEX sync_runs_unfinished ON sync_runs (started_at) WHERE finished_at IS NULL;

-- The last time that the reconciler sent an order again.
CREATE TABLE reconciled_orders (
    order_id text PRIMARY KEY,
    event_id text NOT NULL,               -- the state that was sent
    replay_id text NOT NULL,
    runs int NOT NULL DEFAULT 1,          -- how often that state was sent
    at timestamptz NOT NULL DEFAULT now()
);

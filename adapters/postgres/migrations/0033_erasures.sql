-- People who were erased: what was done, how they are known again without being named, and, while it is being done, whose
-- data it is.

CREATE TABLE erasures (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    actor text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,                    -- NULL: it is under way, or was cut short: then it is to be run again
    counts jsonb NOT NULL DEFAULT '{}',         -- what was done, by step: numbers alone
    outside jsonb NOT NULL DEFAULT '[]'         -- what other systems keep, and how each of them was told: {system, done, why}
);
CREATE INDEX erasures_unfinished ON erasures (id) WHERE finished_at IS NULL;

-- The identities of erased people as digests, under a secret that is not in the database. `kind`: key (of events), which a
-- new order of the person lifts; order, for ever.
CREATE TABLE erasure_marks (
    digest bytea PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('key', 'order')),
    erasure bigint NOT NULL REFERENCES erasures (id) ON DELETE CASCADE,
    at timestamptz NOT NULL,                    -- what came before it is of the past
    lifted_at timestamptz
);
CREATE INDEX erasure_marks_erasure ON erasure_marks (erasure);

-- What is the person's, while the erasure goes on. Empty after it. A negative number: of a question that is asked now.
CREATE TABLE erasure_subjects (
    erasure bigint NOT NULL,
    kind text NOT NULL,
    value text NOT NULL,
    PRIMARY KEY (erasure, kind, value)
);

-- To find the events of one message, note or file without a walk through all of them.
CREATE INDEX dead_letters_of_subject ON dead_letters (subject);
CREATE INDEX delivery_updates_event ON delivery_updates (event_id);

-- The workers of this installation, whichever process runs them and whether or not one does now. A worker is entered when
-- a process starts with it, and leaves by `ferryman workers forget` alone. Whatever asks "has every worker ended with this
-- event?" goes by this table: recovery, trim, retention and audit.
CREATE TABLE workers (
    name text PRIMARY KEY,
    topics text[] NOT NULL,
    types text[] NOT NULL,
    begins text NOT NULL CHECK (begins IN ('everything', 'now')),
    began_at timestamptz NOT NULL DEFAULT now(),  -- with begins = 'now', events that were accepted before are not its
    first_run_at timestamptz,                     -- NULL: no process has run it yet
    last_seen_at timestamptz                      -- when a process last ran it
);

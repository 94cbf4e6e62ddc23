-- Operators, who log in at the pages, and what keeps their sessions. No password, token or link stands here: only what
-- proves them does.

CREATE TABLE operators (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    role text NOT NULL CHECK (role IN ('read', 'operate', 'admin')),
    password text,                              -- Argon2id as a PHC string; NULL: none logs in by a password
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    logged_in_at timestamptz,
    disabled_at timestamptz,
    disabled_by text
);
CREATE UNIQUE INDEX operators_name ON operators (lower(name));

CREATE TABLE operator_sessions (
    digest bytea PRIMARY KEY,                   -- SHA-256 of the token in the cookie
    operator bigint NOT NULL REFERENCES operators ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now(), -- written once a minute at most
    address text NOT NULL,
    agent text NOT NULL                         -- what the browser calls itself, cut
);
CREATE INDEX operator_sessions_operator ON operator_sessions (operator);
CREATE INDEX operator_sessions_created ON operator_sessions (created_at);

-- Whose personal data a session shows unmasked, and until when.
CREATE TABLE operator_reveals (
    digest bytea NOT NULL REFERENCES operator_sessions ON DELETE CASCADE,
    subject text NOT NULL,
    until timestamptz NOT NULL,
    PRIMARY KEY (digest, subject)
);

-- Links that log in once. operator NULL: the link makes the first operator.
CREATE TABLE operator_links (
    digest bytea PRIMARY KEY,
    operator bigint REFERENCES operators ON DELETE CASCADE,
    expires_at timestamptz NOT NULL
);

-- Tries to log in that have failed, or are under way. The subject is a digest: people type passwords as names.
CREATE TABLE login_failures (
    subject bytea PRIMARY KEY,
    failures int NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX login_failures_at ON login_failures (at);

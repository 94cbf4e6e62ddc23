-- Who wants no messages, or no marketing. The latest word of a person counts, whatever arrives first.
CREATE TABLE opt_outs (
    line text NOT NULL,                         -- the phone line: one for all its notations
    scope text NOT NULL CHECK (scope IN ('all', 'marketing')),
    opted_out boolean NOT NULL,
    at timestamptz NOT NULL,
    source text NOT NULL,                       -- what told it: message, meta, twilio, operator
    event_id text,
    PRIMARY KEY (line, scope)
);

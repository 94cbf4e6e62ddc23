-- What Vizi reports to be wrong with an applicant's documents: a row for each applicant, its newest report.
CREATE TABLE applicant_issues (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    applicant_id text NOT NULL UNIQUE,
    event_id text NOT NULL,           -- of the webhook that brought this report
    status text NOT NULL CHECK (status IN ('waiting', 'reported', 'skipped', 'failed')),
    reason text,                      -- why it waits, was skipped or has failed; NULL: it was reported
    issues jsonb NOT NULL,            -- {category: [{"value": code, "label": words}]}
    extra_data jsonb NOT NULL DEFAULT '{}',
    phone_raw jsonb,                  -- as it came: where a message is to go instead of the order's phone
    applicant_phone text,             -- where a message is to go, E.164; NULL: no phone, or not known yet
    applicant_name text,
    order_id text,                    -- of the newest order that names the applicant; NULL: none did
    branch text,                      -- of that order
    contact_id uuid REFERENCES contacts (id) ON DELETE SET NULL,    -- whose phone it is
    reported_at timestamptz NOT NULL, -- when the webhook arrived; it has no time of its own
    processed_at timestamptz,         -- NULL while it waits
    raw_body text NOT NULL,           -- the exact text received
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX idx_applicant_issues_order_id ON applicant_issues (order_id);
CREATE INDEX idx_applicant_issues_contact_id ON applicant_issues (contact_id);
CREATE INDEX idx_applicant_issues_status ON applicant_issues (status, reported_at);
CREATE INDEX idx_applicant_issues_created_at ON applicant_issues (created_at);

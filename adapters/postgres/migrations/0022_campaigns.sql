-- Campaigns: one template to many people, to each of them once.

CREATE TABLE campaigns (
    id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE,
    status text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'running', 'paused', 'stopped', 'done')),
    reason text,                                -- why it was stopped, where no operator has done that
    provider text NOT NULL,
    account text NOT NULL,
    template text NOT NULL,
    language text,
    category text NOT NULL CHECK (category IN ('utility', 'marketing')),
    consent text,                               -- how that of all its people was obtained
    rate double precision NOT NULL CHECK (rate > 0),    -- messages in a second, at most
    quiet_from time,                            -- of the day where the person is; both NULL: none
    quiet_to time,
    ends_at timestamptz,
    duplicates int NOT NULL,                    -- rows of the file that name a person whom another row names before
    next_at timestamptz NOT NULL DEFAULT '-infinity',   -- the next place of its rate
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,                     -- first
    going_since timestamptz,                    -- when it was started or resumed last
    finished_at timestamptz,
    idempotency_key text UNIQUE,
    digest bytea                                -- of the request that came with the key
);
CREATE INDEX campaigns_running ON campaigns (next_at) WHERE status = 'running';
CREATE INDEX campaigns_created_at ON campaigns (created_at DESC, id DESC);

CREATE TABLE campaign_recipients (
    campaign_id uuid NOT NULL REFERENCES campaigns (id) ON DELETE CASCADE,
    line int NOT NULL,                          -- of the file; of a list or a query the place
    phone text NOT NULL,                        -- E.164
    person text NOT NULL,                       -- the phone line: one for all its notations
    name text,
    variables jsonb NOT NULL,
    consent text,
    status text NOT NULL CHECK (status IN ('pending', 'queued', 'sending', 'uncertain', 'sent', 'failed', 'delivered',
                                           'read', 'played', 'skipped', 'canceled')),
    error text,
    error_code text,
    message_id uuid REFERENCES messages (id) ON DELETE SET NULL,
    not_before timestamptz NOT NULL DEFAULT '-infinity',    -- the quiet hours of a pending one last so long
    not_after timestamptz NOT NULL DEFAULT 'infinity',      -- then it is too late for a queued one: they begin
    feeds int NOT NULL DEFAULT 0,               -- how often a message was queued for it; pauses take queued ones back
    fed_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (campaign_id, line),
    UNIQUE (campaign_id, person)
);
CREATE UNIQUE INDEX campaign_recipients_message ON campaign_recipients (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX campaign_recipients_status ON campaign_recipients (campaign_id, status);
CREATE INDEX campaign_recipients_pending ON campaign_recipients (campaign_id, not_before, line)
    WHERE status = 'pending';
CREATE INDEX campaign_recipients_queued ON campaign_recipients (campaign_id, not_after) WHERE status = 'queued';
CREATE INDEX campaign_recipients_fed ON campaign_recipients (campaign_id, fed_at, line) WHERE fed_at IS NOT NULL;
CREATE INDEX campaign_recipients_failed ON campaign_recipients (campaign_id, fed_at, line) WHERE status = 'failed';

-- A recipient stands as its message does, whatever writes there: in the same transaction, so that both are one truth.
CREATE FUNCTION campaign_recipient_follows_its_message() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE campaign_recipients
    SET status = NEW.status, error = NEW.error, error_code = NEW.error_code, updated_at = now()
    WHERE message_id = NEW.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER campaign_recipients_follow AFTER UPDATE OF status, error, error_code ON messages FOR EACH ROW
    WHEN (NEW.purpose LIKE 'campaign:%'
          AND (NEW.status, NEW.error, NEW.error_code) IS DISTINCT FROM (OLD.status, OLD.error, OLD.error_code))
    EXECUTE FUNCTION campaign_recipient_follows_its_message();

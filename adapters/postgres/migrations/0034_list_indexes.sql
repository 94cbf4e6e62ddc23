-- What the lists of operators are read by, page by page: each filter finds its rows in the order in which they are shown.

CREATE INDEX orders_newest ON orders (created_at, order_id);
CREATE INDEX orders_status_newest ON orders (cgb_sync_status, created_at, order_id);
CREATE INDEX orders_branch_newest ON orders (branch, created_at, order_id);
CREATE INDEX orders_error_newest ON orders (created_at, order_id) WHERE cgb_sync_error IS NOT NULL;

CREATE INDEX messages_newest ON messages (created_at, id);
CREATE INDEX messages_status_newest ON messages (status, created_at, id);
CREATE INDEX messages_provider_newest ON messages (provider, created_at, id);
CREATE INDEX messages_direction_newest ON messages (direction, created_at, id);

CREATE INDEX event_journal_source ON event_journal (source, type, time);

CREATE INDEX dead_letters_newest ON dead_letters (buried_at, id);
CREATE INDEX dead_letters_state_newest ON dead_letters (state, buried_at, id);
CREATE INDEX dead_letters_worker_newest ON dead_letters (worker, state, buried_at, id);
CREATE INDEX dead_letters_class_newest ON dead_letters (error_class, state, buried_at, id);
CREATE INDEX dead_letters_fingerprint_newest ON dead_letters (fingerprint, state, buried_at, id);

CREATE INDEX refused_requests_source ON refused_requests (source, at, id);
CREATE INDEX refused_requests_reason ON refused_requests (reason, at, id);

CREATE INDEX campaigns_status_newest ON campaigns (status, created_at, id);
CREATE INDEX campaign_recipients_by_status ON campaign_recipients (campaign_id, status, line);
CREATE INDEX templates_status ON templates (status, provider, account, name, language);

CREATE INDEX conversations_status_newest
    ON conversations (status, (COALESCE(last_message_at, created_at)), id);
CREATE INDEX conversations_escalated_newest
    ON conversations ((COALESCE(last_message_at, created_at)), id) WHERE escalated_at IS NOT NULL;

CREATE INDEX replays_newest ON replays (started_at, id);
CREATE INDEX replays_worker_newest ON replays (worker, started_at, id);
CREATE INDEX sync_runs_newest ON sync_runs (started_at, id);

CREATE INDEX audit_log_actor ON audit_log (actor, at, id);
CREATE INDEX audit_log_action ON audit_log (action, at, id);
CREATE INDEX audit_log_subject_newest ON audit_log (subject, at, id);

CREATE INDEX contacts_newest ON contacts (created_at, id) WHERE merged_into IS NULL;

-- A token of an operator's program, which is for no records of its own: kind 'service'.
ALTER TABLE tokens DROP CONSTRAINT tokens_kind_check;
ALTER TABLE tokens ADD CONSTRAINT tokens_kind_check CHECK (kind IN ('user', 'edge', 'service'));

-- Orders as Vizi sends them, and the people who made them.

CREATE TABLE contacts (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text,
    email text,
    language text,
    newest_order_id text,
    newest_order_at timestamptz,
    newest_order_received_at timestamptz,
    cgb_synced_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- One person, any number of identities; no identity belongs to two people.
CREATE TABLE contact_identities (
    contact_id uuid NOT NULL REFERENCES contacts (id) ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('phone', 'wa_id', 'bsuid', 'chatwoot', 'cgb', 'email')),
    value text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, value)
);

CREATE INDEX idx_contact_identities_contact_id ON contact_identities (contact_id);

CREATE TABLE orders (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    order_id text NOT NULL UNIQUE,
    form_id text,
    branch text,
    domain text,
    payment_processor text,
    payment_id text,
    amount numeric,
    currency text,
    order_status text,
    client_name text,
    client_email text,
    client_phone text,                -- digits, no plus; NULL where there is no phone
    client_phone_e164 text,
    client_phone_raw jsonb,           -- as it came
    whatsapp_alerts_enabled boolean,  -- NULL: not said, which is no consent
    product_country text,
    product_country_flag text,
    product_doc_type text,
    product_doc_name text,
    product_intent text,
    product_entries text,
    product_validity text,
    product_data jsonb,
    visa_quantity integer,
    visa_entries text,
    visa_usage_deadline_days integer,
    visa_document_validity_days integer,
    processing_days integer,
    is_urgent boolean,
    entry_date date,
    entry_port text,
    file_transfer_method text,
    face_url text,
    passport_url text,
    passport_data jsonb,
    extra_nationality_data jsonb,
    address_data jsonb,
    family_data jsonb,
    occupation_data jsonb,
    military_data jsonb,
    past_travels_data jsonb,
    files_data jsonb,
    applicants_data jsonb,            -- everybody; the columns above are the first applicant's
    emergency_contact_data jsonb,
    business_data jsonb,
    form_meta_data jsonb,
    coupon_data jsonb,
    extra_data jsonb NOT NULL DEFAULT '{}',
    visa_details jsonb,
    visa_notification_sent boolean NOT NULL DEFAULT false,
    visa_notification_sent_at timestamptz,
    visa_notification_message_id text,
    workflow_id text,
    job_id text,
    cbb_contact_uuid uuid REFERENCES contacts (id) ON DELETE SET NULL,
    ordered_at timestamptz NOT NULL,  -- sorts a person's orders from old to new
    raw_body text NOT NULL,           -- the exact text received
    webhook_received_at timestamptz NOT NULL,
    processed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    cgb_contact_id TEXT,
    cgb_sync_status TEXT CHECK (cgb_sync_status IN ('pending', 'syncing', 'synced', 'failed', 'no_whatsapp')),
    cgb_sync_attempted_at TIMESTAMPTZ,
    cgb_sync_completed_at TIMESTAMPTZ,
    cgb_sync_error TEXT,
    cgb_contact_exists BOOLEAN,
    cgb_has_whatsapp BOOLEAN
);

CREATE INDEX idx_orders_cgb_sync_status ON orders (cgb_sync_status);
CREATE INDEX idx_orders_cgb_contact_id ON orders (cgb_contact_id);
CREATE INDEX idx_orders_cgb_sync_attempted_at ON orders (cgb_sync_attempted_at);
CREATE INDEX idx_orders_client_phone_e164 ON orders (client_phone_e164);
CREATE INDEX idx_orders_created_at ON orders (created_at);
CREATE INDEX idx_orders_cbb_contact_uuid ON orders (cbb_contact_uuid);

-- An applicant issue names the applicant, not the order: applicants_data @> '[{"id": "apl_…"}]'.
CREATE INDEX idx_orders_applicants_data ON orders USING gin (applicants_data jsonb_path_ops);

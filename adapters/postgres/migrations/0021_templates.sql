-- The templates of the accounts at providers, as their lists were read last, and what webhooks have told since.
CREATE TABLE templates (
    provider text NOT NULL,
    account text NOT NULL,
    name text NOT NULL,
    language text NOT NULL,                     -- as the provider writes it; '': it has none, as flows of CGB
    category text,                              -- MARKETING, UTILITY, AUTHENTICATION; in the provider's words, as status
    status text NOT NULL,
    parameter_format text NOT NULL CHECK (parameter_format IN ('positional', 'named')),
    components jsonb NOT NULL,
    quality text,
    provider_template_id text,
    told_at timestamptz,                        -- when a webhook has told of it last
    synced_at timestamptz NOT NULL,             -- when the list was read that had it last
    gone_at timestamptz,                        -- since when no list has it; NULL: the last one had it
    PRIMARY KEY (provider, account, name, language)
);

-- When the list of an account was read: without a row here nothing is known of its templates.
CREATE TABLE template_syncs (
    provider text NOT NULL,
    account text NOT NULL,
    synced_at timestamptz,                      -- when the reading began of the list that is stored; NULL: none is
    tried_at timestamptz,                       -- when the clock has begun to read it last
    wanted_at timestamptz,                      -- when something has told that the list is another one by now
    PRIMARY KEY (provider, account)
);

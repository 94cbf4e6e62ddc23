-- Where an event of the journal stands on its stream, so that what is open can be compared with what the streams hold.
-- NULL: not known; such an event is not compared.
ALTER TABLE event_journal ADD COLUMN entry_id text;

-- Of an inbound message: the provider's own id of our number that it came to (Meta: phone_number_id), which tells by
-- which account it is marked as read and reacted to. NULL: the provider does not tell. Of one that was marked as read,
-- read_at is when.
ALTER TABLE messages ADD COLUMN our_number text;

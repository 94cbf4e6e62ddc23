-- The fields of which the contact directory's word was not taken, for the operator who asks for the newest ones.
CREATE INDEX told_fields_conflicts ON told_fields (told_at) WHERE NOT taken;

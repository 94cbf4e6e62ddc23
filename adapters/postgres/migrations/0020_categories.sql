-- What a message is for, as WhatsApp sorts templates: marketing, utility, authentication. NULL: it is not known.
ALTER TABLE messages ADD COLUMN category text;

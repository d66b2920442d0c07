-- 0006 message: every message that has been filed (0013_commitlog).
-- id grows with the time in the mid: 8,192 ids a millisecond (actors/adapters/message_id.ts), so that
-- rows are added at one end and one index by conversation serves history. No foreign keys: a commit
-- has looked already, and each would be looked up again for every message.
CREATE TABLE message (
  id INTEGER PRIMARY KEY,
  conv INTEGER NOT NULL, -- conversation.id
  mid TEXT NOT NULL, -- what the id does not say of the mid, or the whole of it
  sender INTEGER NOT NULL,
  cid TEXT NOT NULL,
  ts INTEGER NOT NULL, -- ms after the time in the id
  msg TEXT NOT NULL,
  extra TEXT NOT NULL
) STRICT;
-- cid first: ids that grow with time then land on few pages, whoever sends them, and a commit
-- writes whole pages.
CREATE UNIQUE INDEX message_cid ON message (cid, sender);
-- History; and with the sender in it, the last message of somebody.
CREATE INDEX message_conv ON message (conv, id, sender);

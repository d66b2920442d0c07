-- 0007 offlinemessage: who has not yet received what, of the messages that are filed.
-- A row lives until the recipient's receipt; a message received before it is filed has none.
CREATE TABLE offlinemessage (
  userid INTEGER NOT NULL,
  message INTEGER NOT NULL, -- message.id
  sender INTEGER NOT NULL, -- who wrote to this user alone; 0: a group's message
  PRIMARY KEY (userid, message) -- serves StorePort.pending: one range scan
) STRICT, WITHOUT ROWID;

-- 0006 offlinemessage: who has not yet received what.
-- A row lives from the commit of its message until the recipient's receipt. No foreign key on mid:
-- it would need an index of its own, paid for by every message, to let old messages be deleted.
CREATE TABLE offlinemessage (
  userid INTEGER NOT NULL REFERENCES user(id),
  mid TEXT NOT NULL,
  PRIMARY KEY (userid, mid) -- serves StorePort.pending: one range scan
) STRICT, WITHOUT ROWID;

-- 0006 offlinemessage: who has not yet received what.
-- A row lives from the commit of its message until the recipient's receipt. No foreign key on mid:
-- it would need an index of its own, paid for by every message, to let old messages be deleted.
CREATE TABLE offlinemessage (
  userid INT UNSIGNED NOT NULL,
  mid VARBINARY(26) NOT NULL,
  PRIMARY KEY (userid, mid), -- serves StorePort.pending: one range scan
  FOREIGN KEY (userid) REFERENCES user (id)
) ENGINE = InnoDB

-- 0007 offlinemessage: who has not yet received what.
-- A row lives from the commit of its message until the recipient's receipt.
CREATE TABLE offlinemessage (
  userid INT UNSIGNED NOT NULL,
  mid VARBINARY(26) NOT NULL,
  sender INT UNSIGNED NOT NULL, -- who wrote to this user alone; 0: a group's message
  PRIMARY KEY (userid, mid) -- serves StorePort.pending: one range scan
) ENGINE = InnoDB

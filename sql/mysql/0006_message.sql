-- 0006 message: every message.
-- id grows with the time in the mid (actors/adapters/message_id.ts), so that rows are added at one
-- end and one index by conversation serves history. No foreign keys: a commit has looked already,
-- and each would be looked up again, and locked, for every message.
CREATE TABLE message (
  id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  conv INT UNSIGNED NOT NULL, -- conversation.id
  mid VARBINARY(26) NOT NULL,
  sender INT UNSIGNED NOT NULL,
  cid VARBINARY(256) NOT NULL, -- UTF-8; case and trailing spaces count
  ts BIGINT NOT NULL, -- epoch ms
  msg MEDIUMTEXT NOT NULL,
  extra MEDIUMTEXT NOT NULL,
  UNIQUE KEY message_cid (sender, cid),
  -- History; and with the sender in it, the last message of somebody.
  KEY message_conv (conv, id, sender)
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4 COLLATE = utf8mb4_bin

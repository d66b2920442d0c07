-- 0006 message: every message.
-- Its mid is its key: unlike a number it is unique whichever node made it, and rows are added at one
-- end. No foreign keys: a commit has looked already, and each would be looked up again, and locked,
-- for every message.
CREATE TABLE message (
  mid VARBINARY(26) NOT NULL PRIMARY KEY, -- ULID: sorts by time; binary, as clients send such too
  conv INT UNSIGNED NOT NULL, -- conversation.id
  sender INT UNSIGNED NOT NULL,
  cid VARBINARY(256) NOT NULL, -- UTF-8; case and trailing spaces count
  ts BIGINT NOT NULL, -- epoch ms
  msg MEDIUMTEXT NOT NULL,
  extra MEDIUMTEXT NOT NULL,
  UNIQUE KEY message_cid (sender, cid),
  -- History; and with the sender in it, the last message of somebody.
  KEY message_conv (conv, mid, sender)
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4 COLLATE = utf8mb4_bin

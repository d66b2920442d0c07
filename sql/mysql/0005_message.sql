-- 0005 message: every message, to a user (toid) or to a group (groupid), never both.
CREATE TABLE message (
  mid VARBINARY(26) NOT NULL PRIMARY KEY, -- ULID: sorts by time; binary, as clients send such too
  sender INT UNSIGNED NOT NULL,
  cid VARBINARY(256) NOT NULL, -- UTF-8; case and trailing spaces count
  toid INT UNSIGNED NULL,
  groupid INT UNSIGNED NULL,
  ts BIGINT NOT NULL, -- epoch ms
  msg MEDIUMTEXT NOT NULL,
  extra MEDIUMTEXT NOT NULL,
  UNIQUE KEY message_cid (sender, cid),
  -- History of two users (one range each way) and the last mid of a sender, in groups too.
  KEY message_pair (toid, sender, groupid, mid),
  KEY message_group (groupid, mid),
  FOREIGN KEY (sender) REFERENCES user (id),
  FOREIGN KEY (toid) REFERENCES user (id),
  FOREIGN KEY (groupid) REFERENCES allgroup (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4 COLLATE = utf8mb4_bin

-- 0008 crowdmessage: messages of large groups that some members have not received, one row each.
-- users are the members that have not, as actors/adapters/crowd.ts writes them.
CREATE TABLE crowdmessage (
  message BIGINT UNSIGNED NOT NULL PRIMARY KEY, -- message.id
  groupid INT UNSIGNED NOT NULL,
  users MEDIUMTEXT CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  KEY crowdmessage_group (groupid, message) -- serves StorePort.pending
) ENGINE = InnoDB

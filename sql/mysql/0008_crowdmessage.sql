-- 0008 crowdmessage: messages of large groups that some members have not received, one row each.
-- users are the members that have not, as actors/adapters/crowd.ts writes them.
CREATE TABLE crowdmessage (
  mid VARBINARY(26) NOT NULL PRIMARY KEY,
  groupid INT UNSIGNED NOT NULL,
  users MEDIUMTEXT CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  KEY crowdmessage_group (groupid, mid) -- serves StorePort.pending
) ENGINE = InnoDB

-- 0008 crowdmessage: messages of large groups that some members have not received, one row each.
-- users are the members that have not, as actors/adapters/crowd.ts writes them.
CREATE TABLE crowdmessage (
  message INTEGER PRIMARY KEY, -- message.id
  groupid INTEGER NOT NULL,
  users TEXT NOT NULL
) STRICT;
CREATE INDEX crowdmessage_group ON crowdmessage (groupid, message); -- serves StorePort.pending

-- 0015 crowdmessage: messages of large groups that some members have not received, one row each.
-- users are the members that have not, as actors/adapters/crowd.ts writes them.
CREATE TABLE crowdmessage (
  mid TEXT NOT NULL PRIMARY KEY,
  groupid INTEGER NOT NULL REFERENCES allgroup(id),
  users TEXT NOT NULL
) STRICT;
CREATE INDEX crowdmessage_group ON crowdmessage (groupid, mid); -- serves StorePort.pending

-- 0005 message: every message, to a user (toid) or to a group (groupid), never both.
CREATE TABLE message (
  mid TEXT NOT NULL PRIMARY KEY, -- ULID: sorts by time
  sender INTEGER NOT NULL REFERENCES user(id),
  cid TEXT NOT NULL,
  toid INTEGER REFERENCES user(id),
  groupid INTEGER REFERENCES allgroup(id),
  ts INTEGER NOT NULL, -- epoch ms
  msg TEXT NOT NULL,
  extra TEXT NOT NULL,
  CHECK ((toid IS NULL) <> (groupid IS NULL))
) STRICT;
-- cid first: ids that grow with time then land on few pages, whoever sends them, and a commit
-- writes whole pages.
CREATE UNIQUE INDEX message_cid ON message (cid, sender);
-- History of two users (one range each way) and the last mid of a sender, in groups too.
CREATE INDEX message_pair ON message (toid, sender, groupid, mid);
CREATE INDEX message_group ON message (groupid, mid) WHERE groupid IS NOT NULL;

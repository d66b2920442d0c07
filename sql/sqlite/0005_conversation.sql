-- 0005 conversation: two people, or a group; what messages belong to.
-- Of two people lowid is the smaller id and groupid 0; of a group lowid and highid are 0.
CREATE TABLE conversation (
  id INTEGER PRIMARY KEY,
  lowid INTEGER NOT NULL,
  highid INTEGER NOT NULL,
  groupid INTEGER NOT NULL,
  UNIQUE (lowid, highid, groupid)
) STRICT;

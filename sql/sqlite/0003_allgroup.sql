-- 0003 allgroup: every group. groupkey is the name's look, as user.namekey.
CREATE TABLE allgroup (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  groupname TEXT NOT NULL,
  groupkey TEXT NOT NULL UNIQUE,
  groupdesc TEXT NOT NULL,
  members INTEGER NOT NULL DEFAULT 0 -- how many are in it, so that lists can say so unread
) STRICT;

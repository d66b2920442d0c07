-- 0003 allgroup: every group. groupkey is the name without case, as user.namekey.
CREATE TABLE allgroup (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  groupname TEXT NOT NULL,
  groupkey TEXT NOT NULL UNIQUE,
  groupdesc TEXT NOT NULL
) STRICT;

-- 0004 groupuser: who is in which group.
CREATE TABLE groupuser (
  groupid INTEGER NOT NULL REFERENCES allgroup(id),
  userid INTEGER NOT NULL REFERENCES user(id),
  grouprole TEXT NOT NULL CHECK (grouprole IN ('creator', 'normal')),
  PRIMARY KEY (groupid, userid) -- serves the recipients of a message
) STRICT, WITHOUT ROWID;
CREATE INDEX groupuser_user ON groupuser (userid, groupid); -- serves contacts

-- 0009 crowdread: up to which message nothing of a large group waits for a member.
-- A lower bound, so that a log-in does not look through what others have yet to receive.
CREATE TABLE crowdread (
  userid INTEGER NOT NULL REFERENCES user(id),
  groupid INTEGER NOT NULL REFERENCES allgroup(id),
  message INTEGER NOT NULL,
  PRIMARY KEY (userid, groupid)
) STRICT, WITHOUT ROWID;

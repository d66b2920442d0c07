-- 0002 friend: userid lists friendid; not the other way round.
CREATE TABLE friend (
  userid INTEGER NOT NULL REFERENCES user(id),
  friendid INTEGER NOT NULL REFERENCES user(id),
  PRIMARY KEY (userid, friendid)
) STRICT, WITHOUT ROWID;
CREATE INDEX friend_friend ON friend (friendid); -- serves the end of an account

-- 0002 friend: userid lists friendid; not the other way round.
CREATE TABLE friend (
  userid INT UNSIGNED NOT NULL,
  friendid INT UNSIGNED NOT NULL,
  PRIMARY KEY (userid, friendid),
  FOREIGN KEY (userid) REFERENCES user (id),
  FOREIGN KEY (friendid) REFERENCES user (id)
) ENGINE = InnoDB

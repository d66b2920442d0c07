-- 0004 groupuser: who is in which group.
CREATE TABLE groupuser (
  groupid INT UNSIGNED NOT NULL,
  userid INT UNSIGNED NOT NULL,
  grouprole ENUM('creator', 'normal') CHARACTER SET ascii NOT NULL,
  PRIMARY KEY (groupid, userid), -- serves the recipients of a message
  KEY groupuser_user (userid, groupid), -- serves contacts
  FOREIGN KEY (groupid) REFERENCES allgroup (id),
  FOREIGN KEY (userid) REFERENCES user (id)
) ENGINE = InnoDB

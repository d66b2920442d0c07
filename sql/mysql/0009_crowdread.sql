-- 0009 crowdread: up to which message nothing of a large group waits for a member.
-- A lower bound, so that a log-in does not look through what others have yet to receive.
CREATE TABLE crowdread (
  userid INT UNSIGNED NOT NULL,
  groupid INT UNSIGNED NOT NULL,
  mid VARBINARY(26) NOT NULL,
  PRIMARY KEY (userid, groupid),
  FOREIGN KEY (userid) REFERENCES user (id),
  FOREIGN KEY (groupid) REFERENCES allgroup (id)
) ENGINE = InnoDB

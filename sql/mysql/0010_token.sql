-- 0010 token: resume tokens that may be used, by id, and the device that each is for.
CREATE TABLE token (
  id VARBINARY(255) NOT NULL PRIMARY KEY,
  userid INT UNSIGNED NOT NULL,
  expires BIGINT NOT NULL, -- epoch ms
  device VARBINARY(256) NOT NULL DEFAULT '',
  KEY token_user (userid), -- serves the end of all of a user's tokens
  KEY token_expires (expires), -- serves the removal of old ones
  FOREIGN KEY (userid) REFERENCES user (id)
) ENGINE = InnoDB

-- 0012 loginorigin: addresses and devices that a user has logged in from.
-- Whoever comes from one of them does not wait for others' wrong guesses.
CREATE TABLE loginorigin (
  userid INT UNSIGNED NOT NULL,
  origin VARBINARY(512) NOT NULL,
  at BIGINT NOT NULL, -- epoch ms of a log-in, up to a day old
  PRIMARY KEY (userid, origin),
  FOREIGN KEY (userid) REFERENCES user (id)
) ENGINE = InnoDB

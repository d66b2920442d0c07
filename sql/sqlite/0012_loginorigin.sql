-- 0012 loginorigin: addresses and devices that a user has logged in from.
-- Whoever comes from one of them does not wait for others' wrong guesses.
CREATE TABLE loginorigin (
  userid INTEGER NOT NULL REFERENCES user(id),
  origin TEXT NOT NULL,
  at INTEGER NOT NULL, -- epoch ms of a log-in, up to a day old
  PRIMARY KEY (userid, origin)
) STRICT, WITHOUT ROWID;

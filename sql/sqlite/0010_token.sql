-- 0010 token: resume tokens that may be used, by id, and the device that each is for.
CREATE TABLE token (
  id TEXT NOT NULL PRIMARY KEY,
  userid INTEGER NOT NULL REFERENCES user(id),
  expires INTEGER NOT NULL, -- epoch ms
  device TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
CREATE INDEX token_user ON token (userid); -- serves the end of all of a user's tokens
CREATE INDEX token_expires ON token (expires); -- serves the removal of old ones

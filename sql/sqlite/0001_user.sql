-- 0001 user: accounts. A row is never deleted, so that messages keep their sender.
-- namekey is the name without case (actors/adapters/rows.ts, nameKey): names differ by more.
CREATE TABLE user (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL,
  namekey TEXT NOT NULL UNIQUE,
  password TEXT NOT NULL -- Argon2id in PHC form
) STRICT;

-- 0001 user: accounts. A row is never deleted, so that messages keep their sender.
-- namekey is how the name looks (actors/adapters/name_key.ts): names differ by more than case.
CREATE TABLE user (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL,
  namekey TEXT NOT NULL UNIQUE,
  password TEXT NOT NULL -- Argon2id in PHC form
) STRICT;

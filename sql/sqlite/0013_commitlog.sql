-- 0013 commitlog: what is acknowledged and not yet filed, a row a commit, oldest first.
-- A row goes when all of it is in the tables above. What remains at a start is filed then.
CREATE TABLE commitlog (
  id INTEGER PRIMARY KEY,
  run INTEGER NOT NULL, -- which process wrote it
  first INTEGER NOT NULL, -- number of its first message, counted since that process started
  receipts BLOB NOT NULL, -- pairs of a message's number and a user who has received it, as doubles
  records BLOB NOT NULL -- messages, as actors/record.ts writes them
) STRICT;

-- 0009 account: the device that a token is for, and what the end of an account looks up.
-- A deleted account keeps its row, for its messages' sake: its password is empty.
ALTER TABLE token ADD COLUMN device TEXT NOT NULL DEFAULT '';
CREATE INDEX friend_friend ON friend (friendid);

-- 0009 account: the device that a token is for.
-- A deleted account keeps its row, for its messages' sake: its password is empty.
ALTER TABLE token ADD COLUMN device VARBINARY(256) NOT NULL DEFAULT ''

-- 0011 offlinemessage.sender: who wrote to this user alone, 0 for a group's message.
-- A mailbox is shared by those who write to it: what counts is how much of each waits.
ALTER TABLE offlinemessage ADD COLUMN sender INTEGER NOT NULL DEFAULT 0;

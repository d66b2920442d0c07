-- 0013 allgroup.members: how many are in it, so that lists can say so without reading them.
ALTER TABLE allgroup ADD COLUMN members INT UNSIGNED NOT NULL DEFAULT 0

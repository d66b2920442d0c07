-- 0013 commitlog: SQLite's alone. Here commits are shared by nodes, and a message is filed with its own.
DO 0

"""What is kept: calls, their events and everything around them, in SQLite or PostgreSQL behind one `Store`."""

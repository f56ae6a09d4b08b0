"""The service: live calls by name, what each owes the store and its carrier, and who waits for it."""

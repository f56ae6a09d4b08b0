"""How the tables came to be as they are: one file per revision, each from the one before it to the next."""

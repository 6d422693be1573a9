"""A plan in words: what will move, and what is expected to be chosen."""

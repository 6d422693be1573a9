"""The driver, a thread beside the user's program: which task runs when and where, and what becomes of it."""

"""With the user's program: from a call to a task, checked, pickled, or found among earlier results."""

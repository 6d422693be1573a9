"""In the processes that run the user's functions, and in those that fork them."""

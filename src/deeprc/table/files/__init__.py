"""Files as rows and rows as files: which rank reads what, and what is known before."""

"""`deeprc bench`: each measurement in a file of its own."""

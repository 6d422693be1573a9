"""The methods of `Table`, by what they are for."""

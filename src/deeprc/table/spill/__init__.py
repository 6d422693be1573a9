"""Tables larger than memory: exchanges in rounds, rows in files until their turn comes."""

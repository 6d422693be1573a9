"""Deep RC."""

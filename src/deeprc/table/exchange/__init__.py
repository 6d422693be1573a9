"""The exchange: rows from every rank to every other, as Arrow buffers."""

"""Aggregates that begin on each rank: of each part first, then of the parts."""

"""The page's sections, one file each: a pure function from the run's record to markup, None where it has none."""

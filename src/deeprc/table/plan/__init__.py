"""The logical plan: its nodes, the expressions in them, where rows are, and how many are expected."""

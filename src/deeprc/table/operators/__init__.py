"""How each operator of the plan runs on many ranks: which rows travel, then Polars on what arrived."""

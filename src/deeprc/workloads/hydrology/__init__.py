"""Hydrology: rainfall-runoff models of one or many catchments, their data, metrics and baselines."""

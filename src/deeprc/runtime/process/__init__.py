"""A process among those of its node: its kin, its end, its cores and GPUs, and the shared memory it leaves."""

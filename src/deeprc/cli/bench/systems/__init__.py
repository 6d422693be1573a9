"""Scripts that measure one system each, under whatever interpreter has it: they need nothing of Deep RC."""

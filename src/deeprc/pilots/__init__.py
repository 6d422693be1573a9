"""Pilots, one file each: they get nodes, start one agent on each and report their loss."""

"""Runs a built function on this machine, under the runtime client of Lambda."""

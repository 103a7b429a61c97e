"""Adapters for the target group and for the addresses that may be its targets."""

"""Finds the target groups of the account and Region that need work, and tells the workers."""

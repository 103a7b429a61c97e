"""Keeps the target group equal to the true address of the database."""

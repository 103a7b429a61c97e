"""Keeps every tagged target group of an account and Region equal to its database."""

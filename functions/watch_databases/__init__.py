"""Asks the names of databases of which RDS has just told something, and tells the workers."""

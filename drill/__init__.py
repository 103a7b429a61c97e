"""The failover drill: fails the database of a deployed stack over and observes the stack.

See `python -m drill --help` and docs/drill.md.
"""

"""The failover drill: fail a database over behind a deployed stack, and watch it being followed.

`python -m drill --help`; docs/drill.md.
"""

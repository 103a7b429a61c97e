"""The status report: whether each element of the connection path works, and what to do."""

"""The status checks: each judges one element of the connection path by the facts."""

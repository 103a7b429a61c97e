"""The status checks: each judges one part of the connection path from the collected facts."""

"""Report whether the connection path works, check by check."""

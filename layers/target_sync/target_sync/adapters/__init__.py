"""The outside world: one file per service, each behind a Protocol of the core."""

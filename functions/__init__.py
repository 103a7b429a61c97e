"""The Lambda functions: one folder each, a door and nothing more."""

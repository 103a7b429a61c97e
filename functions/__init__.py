"""The Lambda functions, one folder each. A handler parses its trigger and calls one feature."""

"""The function that serves the stack's custom resources."""

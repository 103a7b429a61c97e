"""Serve the custom resources of the stack: database look-up, first sync, clean deletion."""

"""The custom resources of the stack, one module for each type."""

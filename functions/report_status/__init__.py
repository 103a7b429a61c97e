"""Says whether the road works, step by step."""

"""Properties that hold in every history of observations, faults, concurrent runs and pauses."""

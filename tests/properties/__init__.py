"""What holds in every history: any answers, faults, concurrent runs and jumps of the clock."""

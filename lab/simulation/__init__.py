"""Models of AWS on a virtual clock: a target group, and the clock."""

"""Models of AWS on a virtual clock: a target group, the queues of a fleet, and the clock."""

"""What we claim about speed, reproducible by anyone."""

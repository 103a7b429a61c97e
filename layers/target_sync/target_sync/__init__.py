"""Keep a target group equal to the true address of a PostgreSQL database."""

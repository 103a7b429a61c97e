"""What was seen of the road from the consumer to the database, and what each step of it says."""

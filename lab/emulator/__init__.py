"""Local AWS for the lab: ministack, and what it lacks for a PrivateLink road to PostgreSQL."""

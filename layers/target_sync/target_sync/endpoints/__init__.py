"""Adapters that observe where the database is: DNS, the RDS API, the EC2 API, given addresses."""

"""Adapters that read the facts of the status report from AWS and from PostgreSQL."""

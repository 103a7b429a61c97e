"""Answers the requests of consumers to connect to the endpoint service."""

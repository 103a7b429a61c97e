"""Answers the requests of consumers to connect to the endpoint service.

What AnswerConnectionsFunction runs; SyncTargetsFunction imports nothing of it.
"""

"""Notifies people by an SNS topic, and programs by the event bus."""

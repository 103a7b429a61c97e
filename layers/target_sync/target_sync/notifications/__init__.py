"""Notify people through an SNS topic, and programs through the event bus."""

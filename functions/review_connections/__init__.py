"""Accepts or rejects the connection requests of consumers. Feature: ``target_sync.connections``."""

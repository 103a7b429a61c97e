"""Polls the databases that RDS events name. Feature: ``target_sync.fleet``."""

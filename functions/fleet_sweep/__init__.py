"""Finds the target groups of a fleet that need work. Feature: ``target_sync.fleet``."""

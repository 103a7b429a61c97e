"""Reconciles one target group of a fleet at a time. Feature: ``target_sync.fleet``."""

"""Keeps the target group equal to the true address. Feature: ``target_sync.reconcile``."""

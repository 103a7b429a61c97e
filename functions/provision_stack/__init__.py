"""Serves the custom resources of the stack. Feature: ``target_sync.provisioning``."""

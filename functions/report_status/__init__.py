"""Reports whether the connection path works. Feature: ``target_sync.status``."""

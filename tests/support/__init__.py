"""Fakes and helpers for several suites."""

"""Says whether the road works, step by step.

What ReportStatusFunction runs; SyncTargetsFunction imports nothing of it.
"""

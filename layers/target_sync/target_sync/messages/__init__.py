"""Sends what a run has to tell, to an SNS topic that people read and to the event bus.

Imported only when there is something to say: a run that changes nothing starts without it.
"""

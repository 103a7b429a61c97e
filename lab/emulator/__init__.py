"""Local AWS for the lab: ministack, and what it lacks for a PrivateLink road to PostgreSQL.

`python -m lab.emulator` runs it; `lab.emulator.client.EmulatorAdmin` is the lab's hand on it.
Nothing but `client`, `messages`, `target_group`, `errors` and `wire` may be imported without the
environment that `__main__` prepares: ministack reads it when it is imported.

Known simplifications: an allowed principal lets its whole account connect; what EventBridge or
Scheduler may invoke is not checked against policies; a rule's dead-letter queue stays empty because
delivery never fails; a function's VPC is stored and has no effect.
"""

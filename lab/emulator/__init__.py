"""The lab's AWS emulator: ministack with extensions for PrivateLink, load balancers and RDS.

`python -m lab.emulator` runs it; `lab.emulator.client.EmulatorAdmin` controls it. ministack reads
the environment variables of `__main__` at import, so other code may import only `client`,
`messages`, `target_group`, `errors` and `wire`.

Known simplifications: an allowed principal allows its whole account. No policy limits what
EventBridge or Scheduler may invoke. A rule's dead-letter queue stays empty, because delivery never
fails. A function's VPC has no effect.
"""

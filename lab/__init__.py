"""The failover lab: the main job on a laptop, against real parts and with no AWS account."""

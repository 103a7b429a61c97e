"""The target group, the outbound rules that open its targets, and the warm pool."""

"""Whether the function can do its work, does it, and nothing of it was lost."""

from target_sync.status.checks.consumers import ago, is_unanswered
from target_sync.status.checks.result import CheckId, CheckResult, broken, known, ok, warning
from target_sync.status.facts import Deployment, Facts, FollowedChange

#: So long a run may have been successful ago. It runs every minute, and CloudWatch shows a
#: metric a minute or two late.
FRESH_SECONDS = 300.0
#: A change that took longer to a healthy target is worth a look.
SLOW_SECONDS = 300.0


def function_network(facts: Facts, deployment: Deployment) -> CheckResult:
    """Whether functions inside a VPC have a way to the APIs that they call."""
    network = known(facts.function_network)
    blind = [way.subnet_id for way in network.ways if not way.by_default_route]
    missing = [api for api in deployment.apis if api not in network.services]
    if blind and missing:
        here, there = ", ".join(blind), ", ".join(missing)
        return broken(
            [f"From {here} no NAT gateway and no interface endpoint leads to {there}."],
            "Set CreateInterfaceEndpoints to true, or route these subnets to a NAT gateway.",
        )
    seen = [
        f"{way.subnet_id} leaves by {way.by_default_route or 'interface endpoints'}."
        for way in network.ways
    ]
    return ok(*seen)


def last_sync(facts: Facts, deployment: Deployment) -> CheckResult:
    """Whether the function's runs succeed."""
    runs = known(facts.recent_runs)
    failed = f"{runs.failures} runs failed within {runs.seconds / 60:g} minutes."
    if runs.succeeded_at is None or facts.now - runs.succeeded_at > FRESH_SECONDS:
        last = (
            f"none within {runs.seconds / 60:g} minutes"
            if runs.succeeded_at is None
            else ago(facts.now - runs.succeeded_at)
        )
        return broken(
            [f"The last successful run: {last}.", *([failed] if runs.failures else [])],
            (
                "Read the function's newest errors: sam logs --name ReconcileTargetsFunction"
                f" --stack-name {deployment.stack}."
                if runs.failures
                else "Invoke ReconcileTargetsFunction with {} to see that it works; if it does,"
                " nothing starts it: look at the schedule's rate and target, and at the function's"
                " concurrency."
            ),
            possible_causes=(
                CheckId.SCHEDULE,
                CheckId.FUNCTION_NETWORK,
                CheckId.ENDPOINT_NAME,
                CheckId.TARGET_GROUP,
            ),
        )
    seen = [f"The last successful run: {ago(max(0.0, facts.now - runs.succeeded_at))}."]
    if runs.vetoes:
        return warning(
            [*seen, f"A guard refused a part of {runs.vetoes} plans."],
            "Resync by hand, and read vetoes in the answer: each says what to check.",
            possible_causes=(CheckId.ALLOWED_ADDRESSES, CheckId.ENDPOINT_NAME),
        )
    return ok(*seen, *([failed] if runs.failures else []))


def last_failover(facts: Facts, deployment: Deployment) -> CheckResult:  # noqa: ARG001 - a step
    """Whether the newest change was followed, and how fast."""
    changes = known(facts.changes)
    change = changes.last
    if change is None:
        return ok(f"No change was followed within {changes.days} days.")
    seen = _notified(change, facts.now)
    if change.to_register is not None and change.to_healthy is None:
        # A run by hand does not wait for it, the first one of a deployment among them.
        return ok(*seen, "That run did not see its target healthy; see target-health for now.")
    if change.to_healthy is not None and change.to_healthy > SLOW_SECONDS:
        return warning(
            [*seen, f"That is more than {SLOW_SECONDS / 60:g} minutes."],
            "See docs/failover.md for what makes a failover shorter.",
        )
    return ok(*seen)


def _notified(change: FollowedChange, now: float) -> list[str]:
    steps = {
        "seen after": change.to_detect,
        "registered after": change.to_register,
        "healthy after": change.to_healthy,
    }
    told = [f"{name} {seconds:.1f} s" for name, seconds in steps.items() if seconds is not None]
    return [f"The last change, {ago(max(0.0, now - change.at))}: {', '.join(told)}."]


def schedule(facts: Facts, deployment: Deployment) -> CheckResult:  # noqa: ARG001 - a step
    """Whether the schedule starts the function."""
    enabled = known(facts.schedule_enabled)
    if enabled is None:
        return broken(
            ["The schedule does not exist."], "Delete the stack and deploy it anew, or make it."
        )
    if not enabled:
        return broken(
            ["The schedule is switched off."],
            "Switch it on: EventBridge Scheduler, Schedules, Enable.",
        )
    return ok("The schedule is on.")


def dead_letter_queues(facts: Facts, deployment: Deployment) -> CheckResult:
    """Whether runs failed for good, or events never arrived."""
    queues = {
        "FailedRunsQueue": facts.failed_runs,
        "UndeliveredEventsQueue": facts.undelivered_events,
    }
    seen: list[str] = []
    for name, count in queues.items():
        waiting = known(count)
        if waiting is None:
            return broken(
                [f"{name} does not exist."], "Delete the stack and deploy it anew, or make it."
            )
        if waiting:
            seen.append(f"{name} has {waiting} message{'s' if waiting > 1 else ''}.")
    if seen:
        return broken(
            seen,
            "Read them, which say what failed and why, remove the cause, and purge the queue: aws"
            " sqs receive-message, aws sqs purge-queue.",
            possible_causes=(
                CheckId.ENDPOINT_NAME,
                CheckId.FUNCTION_NETWORK,
                CheckId.TARGET_GROUP,
                CheckId.LAST_SYNC,
                # Not where it waits for a person: no run fails because of that.
                *([CheckId.ENDPOINT_CONNECTIONS] if is_unanswered(facts, deployment) else []),
            ),
        )
    return ok("Both are empty.")

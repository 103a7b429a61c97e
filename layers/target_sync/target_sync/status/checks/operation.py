"""Checks of the functions: their network, their runs, the schedule, the dead-letter queues."""

from target_sync.status.checks.commands import invoke, read_errors
from target_sync.status.checks.consumers import ago, has_overdue_request
from target_sync.status.checks.result import CheckId, CheckResult, broken, ok, warning
from target_sync.status.facts import Deployment, Facts, require

#: A run starts every minute, and CloudWatch shows its metrics a minute or two later.
FRESH_SECONDS = 300.0
#: From the trigger of a change to a healthy target.
SLOW_SECONDS = 300.0


def function_network(facts: Facts, deployment: Deployment) -> CheckResult:
    """Check that functions in a VPC reach the APIs that they call."""
    network = require(facts.function_network)
    isolated = ", ".join(route.subnet_id for route in network.routes if not route.default_gateway)
    missing = ", ".join(a for a in deployment.apis if a not in network.interface_endpoints)
    if isolated and missing:
        return broken(
            [f"{isolated} has no NAT gateway and no interface endpoint to reach {missing}."],
            "Set CreateInterfaceEndpoints to true, or route these subnets to a NAT gateway.",
        )
    return ok(
        *(
            f"{route.subnet_id} reaches AWS through"
            f" {route.default_gateway or 'interface endpoints'}."
            for route in network.routes
        )
    )


def last_sync(facts: Facts, deployment: Deployment) -> CheckResult:
    """Check that runs of ReconcileTargetsFunction succeed."""
    runs = require(facts.recent_runs)
    period = f"in the last {runs.seconds / 60:g} minutes"
    failures = [f"{runs.failures} runs failed {period}."] if runs.failures else []
    age = None if runs.succeeded_at is None else max(0.0, facts.now - runs.succeeded_at)
    success = (
        f"No run succeeded {period}." if age is None else f"The last successful run was {ago(age)}."
    )
    if age is None or age > FRESH_SECONDS:
        return broken(
            [success, *failures],
            (
                "Read the newest errors of ReconcileTargetsFunction."
                if failures
                else "Invoke ReconcileTargetsFunction with {}. If it works, nothing starts it:"
                " check the schedule's rate and target, and the function's concurrency."
            ),
            command=(
                read_errors("ReconcileTargetsFunction", deployment)
                if failures
                else invoke("ReconcileTargetsFunction", deployment)
            ),
            possible_causes=(
                CheckId.SCHEDULE,
                CheckId.FUNCTION_NETWORK,
                CheckId.ENDPOINT_NAME,
                CheckId.TARGET_GROUP,
            ),
        )
    if runs.vetoes:
        return warning(
            [success, f"A guard vetoed a part of {runs.vetoes} plans."],
            "Invoke ReconcileTargetsFunction with {} and read vetoes in its result: each says what"
            " to check.",
            command=invoke("ReconcileTargetsFunction", deployment),
            possible_causes=(CheckId.ALLOWED_ADDRESSES, CheckId.ENDPOINT_NAME),
        )
    return ok(success, *failures)


def last_failover(facts: Facts, deployment: Deployment) -> CheckResult:  # noqa: ARG001
    """Check how fast the function followed the newest change."""
    changes = require(facts.changes)
    change = changes.last
    if change is None:
        return ok(f"The function followed no change in the last {changes.days} days.")
    seconds = {
        "detected": change.to_detect,
        "registered": change.to_register,
        "healthy": change.to_healthy,
    }
    phases = ", ".join(f"{name} after {s:.1f} s" for name, s in seconds.items() if s is not None)
    summary = f"The last change was {ago(max(0.0, facts.now - change.at))}: {phases}."
    if change.to_register is not None and change.to_healthy is None:
        # A manual run does not wait for health, nor does the first run of a deployment.
        return ok(
            summary,
            "That run ended before it saw a healthy target. See target-health for the state now.",
        )
    if change.to_healthy is not None and change.to_healthy > SLOW_SECONDS:
        return warning(
            [summary, f"That is more than {SLOW_SECONDS / 60:g} minutes."],
            "Read in docs/failover.md how to make a failover shorter.",
        )
    return ok(summary)


def schedule(facts: Facts, deployment: Deployment) -> CheckResult:
    """Check that the schedule starts the function."""
    enabled = require(facts.schedule_enabled)
    if enabled is None:
        return broken(
            ["The schedule does not exist."],
            "Delete the stack and deploy it again, or create the schedule.",
        )
    if not enabled:
        return broken(
            ["The schedule is switched off."],
            "Switch it on.",
            command=_enabling(deployment),
        )
    return ok("The schedule is on.")


def _enabling(deployment: Deployment) -> str:
    """Return the command that enables the schedule. An update replaces every other setting too."""
    settings = ("Name", "Description", "ScheduleExpression", "FlexibleTimeWindow", "Target")
    query = ",".join(f"{name}:{name}" for name in settings)
    return (
        f"aws scheduler update-schedule --region {deployment.region} --state ENABLED"
        f' --cli-input-json "$(aws scheduler get-schedule --region {deployment.region}'
        f" --name {deployment.schedule} --output json --query '{{{query}}}')\""
    )


def dead_letter_queues(facts: Facts, deployment: Deployment) -> CheckResult:
    """Check that no run failed for good, and that every event arrived."""
    queues = {
        "FailedRunsQueue": (facts.failed_runs, deployment.failed_runs_queue),
        "UndeliveredEventsQueue": (facts.undelivered_events, deployment.undelivered_events_queue),
    }
    details, commands = list[str](), list[str]()
    for name, (fact, url) in queues.items():
        count = require(fact)
        if count is None:
            return broken(
                [f"{name} does not exist."],
                "Delete the stack and deploy it again, or create the queue.",
            )
        if count:
            details.append(f"{name} has {count} message{'s' if count > 1 else ''}.")
            commands.append(
                f"aws sqs receive-message --region {deployment.region} --queue-url {url}"
                " --max-number-of-messages 10 --message-attribute-names All"
            )
    if not details:
        return ok("Both queues are empty.")
    return broken(
        details,
        "Read the messages, which say what failed and why. Fix the cause. Then purge the queue: use"
        " purge-queue with the same --region and --queue-url.",
        command=" && ".join(commands),
        possible_causes=(
            CheckId.ENDPOINT_NAME,
            CheckId.FUNCTION_NETWORK,
            CheckId.TARGET_GROUP,
            CheckId.LAST_SYNC,
            # A request that waits for a person makes no run fail.
            *([CheckId.ENDPOINT_CONNECTIONS] if has_overdue_request(facts, deployment) else []),
        ),
    )

"""``Custom::FirstSync``: registers the first targets, so that a complete stack has them.

With ``StandbyTargets=warm`` its first run also proves the switch: that a target whose outbound rule
is closed gets no traffic.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from target_sync.errors import RejectedInputError
from target_sync.model import RunStatus, SwitchState, TargetState
from target_sync.ports import Clock
from target_sync.provisioning.ports import FunctionError, FunctionPort
from target_sync.provisioning.request import Attributes, Properties, ResourceRequest
from target_sync.targets.health_reasons import explain

Document: TypeAlias = Mapping[str, object]

#: Seconds to wait for health once no target is being registered. An unhealthy target is only
#: reported, so the wait is short.
HEALTH_SECONDS = 60.0
#: Seconds to retry a denied run: the policy of ReconcileTargetsFunction is also new.
POLICY_SECONDS = 20.0
_PAUSE_SECONDS = 5.0
#: The payloads of ReconcileTargetsFunction. The second run proves the switch first.
_SYNC: Document = {"dry_run": False, "wait_for_healthy": False}
_PROOF: Document = {**_SYNC, "prove_switch": True}
_NOT_MEASURED = "not measured"
_NO_PROOF: Attributes = {
    "SwitchVerified": "no: the deployment tests the switch only with StandbyTargets=warm",
    "SecondsToHealthyOnceOpened": _NOT_MEASURED,
}
_ACCESS_ERRORS = frozenset({"AwsAccessDeniedError", "ObservationDeniedError"})
#: The parameter to correct, by the error class of ReconcileTargetsFunction.
_REMEDIES: Mapping[str, str] = {
    "ObservationError": (
        " Correct DatabaseEndpoint, or set Resolvers to the DNS servers that know it, and deploy"
        " again."
    ),
    "AwsNotFoundError": (
        " Set ExistingTargetGroupArn to a target group of this account and Region, and deploy"
        " again."
    ),
}


@dataclass(frozen=True, slots=True)
class _RegisteredTarget:
    """A desired target that is registered, with its health."""

    target: str
    state: str
    reason: str

    @property
    def healthy(self) -> bool:
        return self.state == TargetState.HEALTHY


@dataclass(frozen=True, slots=True)
class _SyncOutcome:
    """The outcome of one run of ReconcileTargetsFunction.

    It is settled if the actual targets equal the desired ones, with nothing to confirm.
    """

    registered: tuple[_RegisteredTarget, ...]
    settled: bool

    def registering(self, *, owns_load_balancer: bool) -> bool:
        """Whether the load balancer has not checked some target yet.

        A load balancer that is new does not use its target group at once either. That of an
        existing group may never use it.
        """
        waiting = {TargetState.INITIAL} | ({TargetState.UNUSED} if owns_load_balancer else set())
        return any(target.state in waiting for target in self.registered)

    @property
    def complete(self) -> bool:
        """Whether nothing is left to wait for."""
        return self.settled and all(target.healthy for target in self.registered)

    def to_attributes(self, note: str) -> Attributes:
        """Return the attributes of the custom resource: text for the outputs of the stack.

        The note is a known reason why a target may be unhealthy.
        """
        return {
            "Registered": ", ".join(target.target for target in self.registered),
            "Health": ", ".join(map(_health, self.registered)),
            "Hint": _hint(self.registered, note),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstSync:
    """Runs ReconcileTargetsFunction until the targets are healthy.

    The load balancer registers a target within some minutes: others measured 90 to 180 s. So the
    wait lasts until the deadline while a target is being registered, and then a minute more.
    """

    functions: FunctionPort
    clock: Clock

    def apply(self, request: ResourceRequest, deadline: float) -> Attributes:
        """Register the targets, and return them with their health and the state of the switch."""
        name = request.properties.required("FunctionName")
        proves = _proves_switch(request.properties)
        document = self._first_run(name, _PROOF if proves else _SYNC, deadline)
        outcome = _read_result(document)
        owns_load_balancer = bool(request.properties.text("OutboundRulesGroup"))
        end = min(deadline, self.clock.now() + HEALTH_SECONDS)
        while not outcome.complete and (now := self.clock.now()) < end:
            if outcome.registering(owns_load_balancer=owns_load_balancer):
                end = min(deadline, now + HEALTH_SECONDS)
            self.clock.sleep_until(min(end, now + _PAUSE_SECONDS))
            reply = self.functions.invoke(name, _SYNC)
            # The targets are registered. The stack's own alarms report a run that fails now.
            if not isinstance(reply, FunctionError):
                outcome = _read_result(reply)
        note = request.properties.text("IngressNote")
        return {**outcome.to_attributes(note), **(_read_proof(document) if proves else _NO_PROOF)}

    def delete(self, request: ResourceRequest, deadline: float) -> None:
        """Do nothing: the targets are deleted with their group."""

    def _first_run(self, name: str, payload: Document, deadline: float) -> Document:
        retry_until = min(deadline, self.clock.now() + POLICY_SECONDS)
        reply = self.functions.invoke(name, payload)
        while (
            isinstance(reply, FunctionError)
            and reply.type in _ACCESS_ERRORS
            and self.clock.now() < retry_until
        ):
            self.clock.sleep_until(min(retry_until, self.clock.now() + _PAUSE_SECONDS))
            reply = self.functions.invoke(name, payload)
        if isinstance(reply, FunctionError):
            raise RejectedInputError(
                f"The first sync of DatabaseEndpoint failed ({reply.type}): {reply.message}"
                f"{_REMEDIES.get(reply.type, '')}"
            )
        return reply


def _proves_switch(properties: Properties) -> bool:
    """Return whether the stack has the switch and relies on it."""
    return bool(
        properties.text("StandbyTargets") == "warm" and properties.text("OutboundRulesGroup")
    )


def _read_proof(document: Document) -> Attributes:
    """Return the attributes about the switch, from the result document of the first run."""
    switch = document.get("switch")
    switch = switch if isinstance(switch, Mapping) else {}
    state, seconds = switch.get("state"), switch.get("seconds_to_healthy_once_opened")
    detail = switch.get("detail") or "The run did not say why."
    return {
        "SwitchVerified": (
            "yes"
            if state == SwitchState.PROVEN
            else f"no: the switch is {state or SwitchState.UNPROVEN}. {detail}"
        ),
        "SecondsToHealthyOnceOpened": (
            f"{seconds:.1f}" if isinstance(seconds, int | float) else _NOT_MEASURED
        ),
    }


def _read_result(document: Document) -> _SyncOutcome:
    """Return the outcome that the result document of a run shows.

    Raises:
        RejectedInputError: The run rejected the database's address, or registered no target.
    """
    vetoes = " ".join(str(veto.get("detail", "")) for veto in _documents(document, "vetoes"))
    rejected = [str(target.get("target", "")) for target in _documents(document, "rejected")]
    if rejected:
        raise RejectedInputError(
            f"DatabaseEndpoint resolves to {', '.join(rejected)}, which may not be a target:"
            f" {vetoes} Correct DatabaseEndpoint, or extend AllowedNetworks."
        )
    targets = {
        target.target: target
        for name in ("registered", "kept")
        for target in map(_target, _documents(document, name))
    }
    if not targets:
        raise RejectedInputError(
            f"No target was registered for DatabaseEndpoint: {document.get('summary', '')}"
            f" {vetoes} Correct DatabaseEndpoint, and deploy again."
        )
    settled = document.get("status") in {RunStatus.IN_SYNC, RunStatus.SYNCED, RunStatus.UNHEALTHY}
    return _SyncOutcome(tuple(targets[name] for name in sorted(targets)), settled)


def _documents(document: Document, name: str) -> Sequence[Document]:
    items = document.get(name)
    if not isinstance(items, Sequence) or isinstance(items, str):
        return ()
    return [item for item in items if isinstance(item, Mapping)]


def _target(document: Document) -> _RegisteredTarget:
    return _RegisteredTarget(
        str(document.get("target", "")),
        str(document.get("state") or TargetState.UNKNOWN),
        str(document.get("state_reason") or ""),
    )


def _health(target: _RegisteredTarget) -> str:
    reason = f" ({target.reason})" if target.reason else ""
    return f"{target.target} {target.state}{reason}"


def _hint(targets: Iterable[_RegisteredTarget], note: str) -> str:
    hints = [f"{t.target}: {explain(t.reason)}" for t in targets if not t.healthy]
    if hints and note:
        hints.insert(0, note)
    return " ".join(hints) or "Every target is healthy; nothing needs to be done."

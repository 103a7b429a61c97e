"""What the first run of the sync function says about a deployment."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from target_sync.errors import RejectedInputError
from target_sync.model import RunStatus, TargetState
from target_sync.targets.health_reasons import explain

Document: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class FunctionError:
    """A run that raised: the class of the error and its sentence."""

    type: str
    message: str


class FunctionPort(Protocol):
    """The Lambda API."""

    def invoke(
        self, name: str, payload: Mapping[str, object]
    ) -> Mapping[str, object] | FunctionError:
        """Run a function and wait for its answer, or for the error that it raised."""
        ...


@dataclass(frozen=True, slots=True)
class RegisteredTarget:
    """One right target, as the run left it."""

    target: str
    state: str
    reason: str

    @property
    def healthy(self) -> bool:
        """Whether it passes its health checks."""
        return self.state == TargetState.HEALTHY


@dataclass(frozen=True, slots=True)
class FirstSync:
    """What a run of the sync function has reached.

    Attributes:
        registered: The right targets that are in the group.
        settled: Whether the group is right, with nothing left to confirm.
    """

    registered: tuple[RegisteredTarget, ...]
    settled: bool

    @property
    def complete(self) -> bool:
        """Whether there is nothing left to wait for."""
        return self.settled and all(target.healthy for target in self.registered)

    def to_attributes(self) -> Mapping[str, object]:
        """The attributes of the custom resource: text for the stack's outputs."""
        return {
            "Registered": ", ".join(target.target for target in self.registered),
            "Health": ", ".join(map(_health, self.registered)),
            "Hint": _hint(self.registered),
        }


def read_result(document: Document) -> FirstSync:
    """Judge the result document of one run.

    Raises:
        RefusalError: The database's address was refused, or nothing was registered.
    """
    vetoes = [str(veto.get("detail", "")) for veto in _documents(document, "vetoes")]
    refused = [str(target.get("target", "")) for target in _documents(document, "rejected")]
    if refused:
        raise RejectedInputError(
            f"DatabaseEndpoint leads to {', '.join(refused)}, which may not be a target:"
            f" {' '.join(vetoes)} Correct DatabaseEndpoint, or extend AllowedNetworks."
        )
    targets = {
        target.target: target
        for name in ("registered", "kept")
        for target in map(_target, _documents(document, name))
    }
    if not targets:
        raise RejectedInputError(
            f"No target was registered for DatabaseEndpoint: {document.get('summary', '')}"
            f" {' '.join(vetoes)} Correct DatabaseEndpoint, and deploy again."
        )
    settled = document.get("status") in {RunStatus.IN_SYNC, RunStatus.SYNCED, RunStatus.UNHEALTHY}
    return FirstSync(tuple(targets[name] for name in sorted(targets)), settled)


def _documents(document: Document, name: str) -> Sequence[Document]:
    items = document.get(name)
    if not isinstance(items, Sequence) or isinstance(items, str):
        return ()
    return [item for item in items if isinstance(item, Mapping)]


def _target(document: Document) -> RegisteredTarget:
    return RegisteredTarget(
        str(document.get("target", "")),
        str(document.get("state") or TargetState.UNKNOWN),
        str(document.get("state_reason") or ""),
    )


def _health(target: RegisteredTarget) -> str:
    reason = f" ({target.reason})" if target.reason else ""
    return f"{target.target} {target.state}{reason}"


def _hint(targets: Iterable[RegisteredTarget]) -> str:
    sick = [target for target in targets if not target.healthy]
    if not sick:
        return "Every target is healthy; nothing is to be done."
    return " ".join(f"{t.target}: {explain(t.reason)}" for t in sick)

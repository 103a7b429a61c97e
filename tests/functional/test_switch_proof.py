"""The proof at creation: closed does not pass the health checks, open does."""

from typing import Any

import pytest

from target_sync.errors import AwsAccessDeniedError, ObservationError
from target_sync.model import LookupFailure, RunStatus, SwitchState
from target_sync.reconcile.result import SyncResult
from target_sync.reconcile.triggers import SyncTrigger
from target_sync.targets.switch_proof import ProofReport
from target_sync.triggers import TriggerKind
from tests.support.scenario import A, B, Scenario, target
from tests.support.warm_targets import WarmScenario, texts

PROVE = SyncTrigger(kind=TriggerKind.MANUAL, wait_for_healthy=False, prove_switch=True)


def new_stack(**settings: Any) -> WarmScenario:
    """Return a stack without a target, whose database is at A."""
    settings = {"addresses": [A], "listening": [A], "candidates": [A, B], **settings}
    scenario = WarmScenario(state=SwitchState.UNPROVEN, **settings)
    scenario.rules.set_open([])
    scenario.clock.advance(5)
    return scenario


def proof_of(result: SyncResult) -> ProofReport:
    assert result.switch is not None
    assert result.switch.proof is not None
    return result.switch.proof


def test_the_first_target_is_unhealthy_closed_and_healthy_open() -> None:
    scenario = new_stack()
    began = scenario.elapsed

    result = scenario.run(PROVE)

    assert result.status is RunStatus.IN_SYNC
    assert result.to_document()["switch"] == {
        "state": "proven",
        "seconds_to_healthy_once_opened": 10.0,
        "detail": f"{target(A)} was unhealthy while its rule was closed, and healthy 10.0 s after"
        " it was opened.",
    }
    assert scenario.rules.state is SwitchState.PROVEN
    assert (scenario.serving, scenario.warm) == (texts(A), texts(B))
    assert 95 <= scenario.elapsed - began <= 115
    assert scenario.group.history[1] == ("RegisterTargets", (target(A),))
    assert [operation for operation, _ in scenario.rules.history] == [
        "RevokeSecurityGroupEgress", "AuthorizeSecurityGroupEgress", "mark",
    ]  # fmt: skip


def test_a_target_that_is_healthy_while_closed_is_opened_and_marked() -> None:
    scenario = new_stack()
    scenario.rules.is_effective = False

    result = scenario.run(PROVE)

    assert proof_of(result).state is SwitchState.INEFFECTIVE
    assert "although its rule was closed" in proof_of(result).detail
    assert scenario.rules.state is SwitchState.INEFFECTIVE
    assert (scenario.serving, scenario.warm) == (texts(A), set())
    assert [veto.code.value for veto in result.vetoes] == ["switch_ineffective"]


def test_a_target_that_is_healthy_for_a_moment_proves_nothing() -> None:
    scenario = new_stack(registration_seconds=0.0)
    scenario.rules.is_effective = False
    scenario.after(20, lambda: setattr(scenario.rules, "is_effective", True))

    assert proof_of(scenario.run(PROVE)).state is SwitchState.PROVEN


def test_a_registration_that_takes_too_long_opens_the_target_unproven() -> None:
    scenario = new_stack(registration_seconds=240.0)

    result = scenario.run(PROVE)

    assert proof_of(result) == ProofReport(
        state=SwitchState.UNPROVEN,
        detail=f"{target(A)} was not unhealthy in time while its rule was closed.",
    )
    assert (scenario.serving, scenario.rules.state) == (texts(A), SwitchState.UNPROVEN)


def test_a_server_that_does_not_listen_leaves_the_switch_unproven() -> None:
    scenario = new_stack(listening=[])

    result = scenario.run(PROVE)

    assert proof_of(result).detail == (
        f"{target(A)} was not healthy in time after its rule was opened."
    )
    assert (scenario.serving, scenario.rules.state) == (texts(A), SwitchState.UNPROVEN)


def test_the_proof_ends_in_time_for_the_run() -> None:
    scenario = new_stack()
    began = scenario.elapsed

    result = scenario.run(PROVE, remaining_seconds=90.0)

    assert scenario.elapsed - began <= 62
    assert proof_of(result).state is SwitchState.UNPROVEN
    assert scenario.serving == texts(A)


def test_a_target_that_serves_already_is_not_closed_for_a_proof() -> None:
    scenario = WarmScenario(A, candidates=[A, B], state=SwitchState.UNPROVEN)

    result = scenario.run(PROVE)

    assert proof_of(result) == ProofReport(
        state=SwitchState.UNPROVEN,
        detail="Nothing was tried, because an open target is registered already.",
    )
    assert scenario.rules.history == []


def test_the_next_try_continues_a_proof_that_ended() -> None:
    scenario = new_stack()
    scenario.run_until_killed_after("RegisterTargets", PROVE)

    assert proof_of(scenario.run(PROVE)).state is SwitchState.PROVEN


def test_a_failed_observation_proves_nothing() -> None:
    scenario = new_stack()
    scenario.endpoint.set_failure(LookupFailure.NAME_DOES_NOT_EXIST)

    with pytest.raises(ObservationError):
        scenario.run(PROVE)

    assert scenario.registered == set()
    (result,) = scenario.reporter.results
    assert proof_of(result).state is SwitchState.UNPROVEN


def test_an_address_that_is_not_allowed_proves_nothing() -> None:
    scenario = new_stack()
    scenario.endpoint.set_addresses("52.16.1.9")

    result = scenario.run(PROVE)

    assert result.status is RunStatus.VETOED
    assert proof_of(result).detail == "The database has no address that may be a target."


def test_a_denied_call_is_in_the_result_and_the_run_goes_on() -> None:
    scenario = new_stack()
    denied = AwsAccessDeniedError("RevokeSecurityGroupEgress", "UnauthorizedOperation", "no")
    scenario.rules.faults["RevokeSecurityGroupEgress"] = [denied]

    result = scenario.run(PROVE)

    assert proof_of(result) == ProofReport(state=SwitchState.UNPROVEN, detail=str(denied))
    assert scenario.serving == texts(A)


def test_a_dry_run_proves_nothing() -> None:
    scenario = new_stack()
    dry_run = SyncTrigger(kind=TriggerKind.MANUAL, dry_run=True, prove_switch=True)

    result = scenario.run(dry_run)

    assert result.switch is not None
    assert result.switch.proof is None
    assert scenario.changes == []


def test_without_a_switch_the_option_has_no_effect() -> None:
    scenario = Scenario(A)

    assert "switch" not in scenario.run(PROVE).to_document()

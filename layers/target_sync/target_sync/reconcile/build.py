"""Builds the reconciler, once per container."""

import functools
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from target_sync.aws import make_client, use_small_models
from target_sync.clock import SystemClock
from target_sync.config import Settings, StandbyTargets, load_settings
from target_sync.endpoints.build import endpoint_of, members_of
from target_sync.ports import Candidates, Endpoint
from target_sync.reconcile.reconciler import Reconciler
from target_sync.reconcile.result import SyncResult
from target_sync.reporting import PowertoolsReporter
from target_sync.targets.network_interfaces import network_interfaces_of
from target_sync.targets.outbound_rules import SecurityGroupRules
from target_sync.targets.switch_proof import SwitchProof
from target_sync.targets.switched_group import SwitchedTargetGroup
from target_sync.targets.target_group import ElbTargetGroup
from target_sync.targets.warm_pool import WarmPool


@functools.cache
def reconciler() -> Reconciler:
    """Return the reconciler of this container, built from its environment on the first call."""
    return build_reconciler(os.environ)


def build_reconciler(environ: Mapping[str, str]) -> Reconciler:
    """Build a reconciler from an environment."""
    settings = load_settings(environ)
    use_small_models()
    clock = SystemClock()
    endpoint = endpoint_of(settings, clock.now)
    has_switch = bool(settings.outbound_rules_group)
    ec2: Any = make_client("ec2") if has_switch or settings.policy.serving_standby else None
    group = ElbTargetGroup(make_client("elbv2"), settings.target_group_arn, settings.vpc_networks)
    reconciler = Reconciler(
        endpoint=endpoint,
        target_group=group,
        policy=settings.policy,
        clock=clock,
        reporter=PowertoolsReporter(),
        watch_seconds=settings.watch_seconds,
        dns_poll_seconds=settings.dns_poll_seconds,
        standbys=network_interfaces_of(ec2, settings) if settings.policy.serving_standby else None,
        notifier=_Notifier(settings),
    )
    if not has_switch:
        return reconciler
    rules = SecurityGroupRules(ec2, settings.outbound_rules_group, settings.policy.port)
    switched = SwitchedTargetGroup(group=group, rules=rules, policy=settings.policy, now=clock.now)
    pool = WarmPool(
        switched=switched,
        candidates=_candidates(ec2, settings, endpoint),
        policy=settings.policy,
        now=clock.now,
    )
    proof = SwitchProof(
        endpoint=endpoint, group=group, rules=rules, policy=settings.policy, clock=clock
    )
    is_warm = settings.standby_targets is StandbyTargets.WARM
    return replace(reconciler, target_group=switched, pool=pool, proof=proof if is_warm else None)


def _candidates(ec2: Any, settings: Settings, endpoint: Endpoint) -> Candidates | None:
    """Return what lists the addresses that the database may move to; None if no API does."""
    if settings.vpc_id and settings.policy.warm_targets:
        return network_interfaces_of(ec2, settings)
    return members_of(endpoint)


@dataclass(frozen=True, slots=True)
class _Notifier:
    """Implements ``target_sync.reconcile.reconciler.Notifier``."""

    settings: Settings

    def notify(self, result: SyncResult, *, changed_ago: float) -> tuple[str, ...]:
        # Few runs notify, so a start does not import this (ADR 0033).
        from target_sync.notifications.messages import Origin  # noqa: PLC0415
        from target_sync.notifications.sender import notification_sender  # noqa: PLC0415
        from target_sync.reconcile.messages import notification_of  # noqa: PLC0415

        origin = Origin(stack=self.settings.stack, resource=self.settings.target_group_arn)
        notification = notification_of(result, origin, at=time.time() - changed_ago)
        return notification_sender(self.settings.alarm_topic_arn).send(notification)

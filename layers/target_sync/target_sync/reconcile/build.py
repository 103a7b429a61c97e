"""Builds the reconciler, once per container."""

import functools
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

from target_sync.aws import make_client
from target_sync.clock import SystemClock
from target_sync.config import Settings, load_settings
from target_sync.endpoints.build import endpoint_of
from target_sync.notifications.messages import Origin
from target_sync.notifications.sender import notification_sender
from target_sync.reconcile.messages import notification_of
from target_sync.reconcile.reconciler import Reconciler
from target_sync.reconcile.result import SyncResult
from target_sync.reporting import PowertoolsReporter
from target_sync.targets.network_interfaces import standbys_of
from target_sync.targets.target_group import ElbTargetGroup


@functools.cache
def reconciler() -> Reconciler:
    """Return the reconciler of this container, built from its environment on the first call."""
    return build_reconciler(os.environ)


def build_reconciler(environ: Mapping[str, str]) -> Reconciler:
    """Build a reconciler from an environment."""
    settings = load_settings(environ)
    clock = SystemClock()
    return Reconciler(
        endpoint=endpoint_of(settings, clock.now),
        target_group=ElbTargetGroup(
            make_client("elbv2"), settings.target_group_arn, settings.vpc_networks
        ),
        policy=settings.policy,
        clock=clock,
        reporter=PowertoolsReporter(),
        watch_seconds=settings.watch_seconds,
        dns_poll_seconds=settings.dns_poll_seconds,
        standbys=standbys_of(settings) if settings.policy.serving_standby else None,
        notifier=_Notifier(settings),
    )


@dataclass(frozen=True, slots=True)
class _Notifier:
    """Implements ``target_sync.reconcile.reconciler.Notifier``."""

    settings: Settings

    def notify(self, result: SyncResult, *, changed_ago: float) -> tuple[str, ...]:
        origin = Origin(stack=self.settings.stack, resource=self.settings.target_group_arn)
        notification = notification_of(result, origin, at=time.time() - changed_ago)
        return notification_sender(self.settings.alarm_topic_arn).send(notification)

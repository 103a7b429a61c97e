"""Builds the reviewer from the environment, once per container."""

import functools
import os
import time
from dataclasses import dataclass

from target_sync.aws import make_client
from target_sync.clock import SystemClock
from target_sync.connections.decisions import Decision
from target_sync.connections.messages import notification_of
from target_sync.connections.reviewer import ConnectionReviewer
from target_sync.connections.settings import ConnectionSettings, load_settings
from target_sync.endpoint_service import Ec2EndpointService
from target_sync.notifications.messages import Origin
from target_sync.notifications.sender import notification_sender
from target_sync.reporting import PowertoolsReporter


@functools.cache
def reviewer() -> ConnectionReviewer:
    """Return the reviewer of this container, built from its environment on the first call."""
    settings = load_settings(os.environ)
    return ConnectionReviewer(
        service=Ec2EndpointService(make_client("ec2"), settings.service_id),
        policy=settings.policy,
        notifier=_ReviewNotifier(settings),
        reporter=PowertoolsReporter(),
        clock=SystemClock(),
    )


@dataclass(frozen=True, slots=True)
class _ReviewNotifier:
    """Implements ``target_sync.connections.reviewer.ConnectionNotifier``.

    It makes the clients of SNS and EventBridge when there is something to notify.
    """

    settings: ConnectionSettings

    def notify(self, decision: Decision) -> tuple[str, ...]:
        origin = Origin(stack=self.settings.stack, resource=self.settings.service_id)
        notification = notification_of(decision, origin, at=time.time())
        return notification_sender(self.settings.alarm_topic_arn).send(notification)

"""Puts the parts together, once per container."""

import functools
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

from target_sync.aws import make_client
from target_sync.connections.decisions import Decision
from target_sync.connections.messages import notification_of
from target_sync.connections.reporting import PowertoolsReviewReporter
from target_sync.connections.reviewer import ConnectionReviewer
from target_sync.connections.settings import ConnectionSettings, load_settings
from target_sync.endpoint_service import Ec2EndpointService
from target_sync.notifications.build import notification_sender
from target_sync.notifications.messages import Origin


@functools.cache
def reviewer() -> ConnectionReviewer:
    """The answerer of this container, made on the first call from its environment.

    Raises:
        SettingsError: A variable of the environment is missing or wrong.
    """
    return build_reviewer(os.environ)


def build_reviewer(environ: Mapping[str, str]) -> ConnectionReviewer:
    """Make an answerer from an environment."""
    settings = load_settings(environ)
    return ConnectionReviewer(
        service=Ec2EndpointService(make_client("ec2"), settings.service_id),
        policy=settings.policy,
        notifier=_LazyNotifier(settings),
        reporter=PowertoolsReviewReporter(),
    )


@dataclass(frozen=True, slots=True)
class _LazyNotifier:
    """Implements ``target_sync.connections.reviewer.ConnectionTeller``."""

    settings: ConnectionSettings

    def notify(self, decision: Decision) -> tuple[str, ...]:
        sender = Origin(stack=self.settings.stack, resource=self.settings.service_id)
        notice = notification_of(decision, sender, at=time.time())
        return notification_sender(self.settings.alarm_topic_arn).send(notice)

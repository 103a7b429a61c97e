"""Puts the parts together, once per container."""

import functools
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

from target_sync.adapters.aws import make_client
from target_sync.adapters.endpoint_service import Ec2EndpointService
from target_sync.connections.answering import ConnectionAnswerer
from target_sync.connections.observability import PowertoolsAnswerReporter
from target_sync.connections.settings import ConnectionSettings, load_settings
from target_sync.core.connection_messages import notice_of
from target_sync.core.connections import Decision
from target_sync.core.messages import Sender
from target_sync.messages.wiring import courier


@functools.cache
def answerer() -> ConnectionAnswerer:
    """The answerer of this container, made on the first call from its environment.

    Raises:
        SettingsError: A variable of the environment is missing or wrong.
    """
    return build_answerer(os.environ)


def build_answerer(environ: Mapping[str, str]) -> ConnectionAnswerer:
    """Make an answerer from an environment."""
    settings = load_settings(environ)
    return ConnectionAnswerer(
        service=Ec2EndpointService(make_client("ec2"), settings.service_id),
        policy=settings.policy,
        teller=_Teller(settings),
        reporter=PowertoolsAnswerReporter(),
    )


@dataclass(frozen=True, slots=True)
class _Teller:
    """Implements ``target_sync.connections.answering.ConnectionTeller``."""

    settings: ConnectionSettings

    def tell(self, decision: Decision) -> tuple[str, ...]:
        sender = Sender(stack=self.settings.stack, resource=self.settings.service_id)
        notice = notice_of(decision, sender, at=time.time())
        return courier(self.settings.alarm_topic_arn).send(notice)

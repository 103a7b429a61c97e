"""Puts the parts together, once per container."""

import functools
import os
from collections.abc import Mapping

from target_sync.adapters.aws import make_client
from target_sync.adapters.endpoint_service import Ec2EndpointService
from target_sync.adapters.notifications import SnsTopic
from target_sync.connections.answering import ConnectionAnswerer
from target_sync.connections.observability import PowertoolsAnswerReporter
from target_sync.connections.settings import load_settings


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
    topic = settings.alarm_topic_arn
    return ConnectionAnswerer(
        service_id=settings.service_id,
        service=Ec2EndpointService(make_client("ec2"), settings.service_id),
        policy=settings.policy,
        notifier=SnsTopic(make_client("sns"), topic) if topic else None,
        reporter=PowertoolsAnswerReporter(),
    )

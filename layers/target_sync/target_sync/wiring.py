"""Puts the parts together, once per container."""

import functools
import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import botocore.session
from botocore.config import Config

from target_sync.adapters.clock import SystemClock
from target_sync.adapters.dns import DnsEndpoint, NameServer
from target_sync.adapters.target_groups import ElbTargetGroup
from target_sync.observability import PowertoolsReporter
from target_sync.settings import load_settings
from target_sync.synchronizer import Synchronizer

if TYPE_CHECKING:
    from mypy_boto3_elbv2.client import ElasticLoadBalancingv2Client

#: Short time-outs: a function that cannot reach the API must say so within seconds. The
#: retries are botocore's, with its back-off; there are none on top of them.
CLIENT_CONFIG = Config(
    connect_timeout=2,
    read_timeout=5,
    retries={"mode": "standard", "total_max_attempts": 3},
)


@functools.cache
def synchronizer() -> Synchronizer:
    """The synchronizer of this container, made on the first call from its environment.

    Raises:
        SettingsError: A variable of the environment is missing or wrong.
    """
    return build_synchronizer(os.environ)


def build_synchronizer(environ: Mapping[str, str]) -> Synchronizer:
    """Make a synchronizer from an environment.

    botocore without boto3: the same client for less import time (docs/adr/0006).
    """
    # Lambda gives the root logger the level of LogLevel. At DEBUG botocore would write every
    # request with its headers, the role's session token among them.
    logging.getLogger("botocore").setLevel(logging.INFO)
    settings = load_settings(environ)
    clock = SystemClock()
    name_servers = [NameServer(address, port) for address, port in settings.resolvers]
    return Synchronizer(
        endpoint=DnsEndpoint(settings.endpoint, now=clock.now, name_servers=name_servers),
        target_group=ElbTargetGroup(_elbv2_client(), settings.target_group_arn),
        policy=settings.policy,
        clock=clock,
        reporter=PowertoolsReporter(),
        watch_seconds=settings.watch_seconds,
    )


def _elbv2_client() -> "ElasticLoadBalancingv2Client":
    session = botocore.session.get_session()
    return cast(
        "ElasticLoadBalancingv2Client", session.create_client("elbv2", config=CLIENT_CONFIG)
    )

"""Puts together who tells."""

import functools
import time

from botocore.config import Config

from target_sync.adapters.aws import make_client
from target_sync.adapters.event_bus import EventBus
from target_sync.adapters.notifications import SnsTopic
from target_sync.core.messages import Sender
from target_sync.core.result import SyncResult
from target_sync.core.sync_messages import notice_of
from target_sync.messages.sending import Courier

#: One attempt: a second one after a lost reply would say it twice. And short, because it comes
#: at the end of the function's time.
CLIENT_CONFIG = Config(
    connect_timeout=1,
    read_timeout=2,
    retries={"mode": "standard", "total_max_attempts": 1},
)


@functools.cache
def courier(topic_arn: str) -> Courier:
    """Make a courier to this topic, or without one if the ARN is empty, and to the event bus."""
    return Courier(
        topic=SnsTopic(make_client("sns", CLIENT_CONFIG), topic_arn) if topic_arn else None,
        bus=EventBus(make_client("events", CLIENT_CONFIG)),
    )


def tell_of_sync(
    result: SyncResult, sender: Sender, topic_arn: str, *, changed_ago: float
) -> tuple[str, ...]:
    """Tell of a run that has news. Arguments and answer are those of ``Teller.tell``."""
    return courier(topic_arn).send(notice_of(result, sender, at=time.time() - changed_ago))

"""A function that does what its event asks for, and prints every event."""

import importlib
import json
import os
import sys
import time
from typing import Any

import boto3


class WrongServerError(Exception):
    """What the tests let the function fail with."""


def handler(event: dict[str, Any], context: Any) -> dict[str, str]:
    sys.stdout.write(json.dumps({"event": event}) + "\n")
    action = event.get("action")
    if action == "fail":
        raise WrongServerError("on request")
    if action == "wait":
        time.sleep(50)
    group = os.environ["TARGET_GROUP_ARN"]
    if action == "register":
        elb = boto3.client("elbv2")
        elb.register_targets(TargetGroupArn=group, Targets=[{"Id": "10.0.1.11"}])
    if action == "describe":
        boto3.client("elbv2").describe_target_health(TargetGroupArn=group)
    # The layer's module is there only when the function runs.
    words = importlib.import_module("shared_words")
    return {"greeting": words.GREETING, "request_id": context.aws_request_id}

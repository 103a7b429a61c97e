"""A report that fills every part of the widget, and texts that attack a page."""

from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any

from target_sync.model import TargetState
from target_sync.status.checks.result import CheckState
from target_sync.status.facts import FollowedChange, FollowedChanges
from target_sync.status.report import StatusReport, make_report
from tests.support.status import DEPLOYMENT, FACTS, NOW, B, target

#: Without escaping, each of these runs a script, loads something, or adds an element or a style.
#: Some first end the attribute or the element around them.
HOSTILE = (
    "<script>window.attacked = 1</script>",
    "<img src=x onerror=window.attacked=1>",
    '"><img src="x" onerror="window.attacked=1">',
    "'><svg onload=window.attacked=1></svg>",
    "</svg></style></td></div><iframe src=//evil.example></iframe>",
    "</style><style>*{display:none}</style>",
    "</b></li></ol><script>window.attacked = 1</script>",
    '<cwdb-action action="call" endpoint="arn:aws:lambda:x">{"a": 1}</cwdb-action>',
    "<a href=javascript:window.attacked=1>healthy</a>",
    "--><img src=x onerror=window.attacked=1><!--",
    "]]><body onpageshow=window.attacked=1>",
)
#: These try to pass the escaping: quotes that end an attribute, entities, templates.
SUSPECT = (
    '"onmouseover="window.attacked=1" style="position:fixed',
    "&lt;script&gt;window.attacked=1&lt;/script&gt; &amp; &#60;b&#62;",
    "--><!-- ]]> &lt;script&gt; &amp;",
    "url(//evil.example/x.png); @import '//evil.example/x.css'",
    "{{7*7}} ${7*7} <%= 7*7 %>",
)
#: These try to break the layout.
UNRULY = (
    "w" * 1000,
    "W.-" * 300,
    "\u202e\u2066 gnitrats \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \u200f",
    "a\x00\x07\x1b[31m\x7f\x85\u2028\u2029\ud800\nb\tc",
    "Z\u0351\u036b\u0343\u036a\u0302" * 60,
    "\U0001f600" * 200,
    "\u6f22\u5b57" * 200,
    "\u00a0" * 300,
)


def make_report_with(**changes: Any) -> StatusReport:
    """The report on a working connection path with these facts changed."""
    return make_report(replace(FACTS, **changes), DEPLOYMENT)


def every_state() -> StatusReport:
    """A report that fills every part of the widget, with checks in every state."""
    report = make_report_with(
        targets=(target(), target(B, TargetState.UNHEALTHY, "Target.FailedHealthChecks")),
        changes=FollowedChanges(
            FollowedChange(at=NOW - 600, to_detect=4.2, to_register=4.9, to_healthy=184.0), 14
        ),
    )
    states = [*CheckState] * 5
    checks = [
        replace(
            check, state=state, details=("A detail.", "And more."), remedy="Do this.", command="aws"
        )
        for check, state in zip(report.checks, states, strict=False)
    ]
    return replace(report, checks=tuple(checks))


def with_texts(value: Any, text: str) -> Any:
    """The value with every string in it replaced, at any depth."""
    if isinstance(value, Enum):
        return value
    if isinstance(value, str):
        return text
    if isinstance(value, tuple):
        return tuple(with_texts(item, text) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        changed = {f.name: with_texts(getattr(value, f.name), text) for f in fields(value)}
        return replace(value, **changed)
    return value

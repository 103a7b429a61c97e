"""Draws a diagnosis as a CloudWatch custom widget: static HTML and SVG that loads nothing.

CloudWatch shows HTML with styles and SVG and takes scripts out of it (CloudWatch user guide,
*Details about custom widgets*). Nothing here relies on that: every text goes through `_text`, and
none of them becomes a part of an attribute, a style or an address.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from target_sync.notifications.messages import plain
from target_sync.status.checks.result import CheckId, CheckState
from target_sync.status.facts import DescribedTarget, FollowedChange
from target_sync.status.report import StatusCheck, StatusReport, moment
from target_sync.targets.health_reasons import explained

#: Bytes of one text once it is escaped, so that no text from outside makes the widget large.
_TEXT_BYTES = 400
_MOST_SEEN = 3
_MOST_TROUBLES = 8
_MOST_TARGETS = 6
#: Pixels that a step of the road wants for its name.
_STEP_WIDTH = 115
_MOST_IN_A_ROW = 10
#: What needs attention, worst first. The rest says nothing that has to be read.
_TROUBLES = (CheckState.BROKEN, CheckState.UNKNOWN, CheckState.WARNING)
#: The symbol of each state (`diagnosis.SYMBOLS`), drawn in a square of 26: fonts have no sign for
#: some of them, the console's own (Open Sans) among those.
MARKS: Mapping[CheckState, str] = {
    CheckState.OK: "M7 14l4 4 8-10",
    CheckState.WARNING: "M13 6v9M13 18v2",
    CheckState.BROKEN: "M8 8l10 10M18 8l-10 10",
    CheckState.UNKNOWN: "M9.5 9.5a3.5 3.5 0 1 1 5.5 3c-1.5 1-2 1.5-2 3M13 18.5v2",
    CheckState.SKIPPED: "M8 13h10",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where the widget is shown.

    Attributes:
        width: Of its visible part, in pixels.
        dark: Whether the console's theme is dark.
    """

    width: float = 600.0
    dark: bool = False


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours of a theme. Each can be read on the background (WCAG 2.2, contrast, AAA)."""

    background: str
    text: str
    line: str
    states: Mapping[CheckState, str]


LIGHT = Theme(
    background="#ffffff",
    text="#16191f",
    line="#4d5866",
    states={
        CheckState.OK: "#135c26",
        CheckState.WARNING: "#744500",
        CheckState.BROKEN: "#a81218",
        CheckState.UNKNOWN: "#0a4a90",
        CheckState.SKIPPED: "#4d5866",
    },
)
DARK = Theme(
    background="#161d26",
    text="#e4e8ed",
    line="#a4b0bf",
    states={
        CheckState.OK: "#5fd08a",
        CheckState.WARNING: "#f5c04e",
        CheckState.BROKEN: "#ff8f8f",
        CheckState.UNKNOWN: "#8ec5ff",
        CheckState.SKIPPED: "#a4b0bf",
    },
)


def to_html(status_report: StatusReport, frame: Frame) -> str:
    """The diagnosis as one element, with its own style and below 30 kB."""
    theme = DARK if frame.dark else LIGHT
    return "".join(
        [
            # This class switches CloudWatch's own style of lists and tables off.
            '<div class="ppl cwdb-no-default-styles">',
            _style(theme, _columns(frame.width, len(status_report.checks))),
            _verdict(status_report),
            _troubles(status_report.checks),
            _road(status_report.checks),
            '<div class="ppl-now">',
            _targets(status_report),
            _last_change(status_report),
            "</div></div>",
        ]
    )


def _text(value: object) -> str:
    """A text of whatever origin as a part of the page: one line, cut, and nothing but text."""
    kept: list[str] = []
    room = _TEXT_BYTES
    for character in plain(value):
        piece = escape(character)
        room -= len(piece.encode())
        if room < 0:
            return "".join([*kept, "…"])
        kept.append(piece)
    return "".join(kept)


def _columns(width: float, steps: int) -> int:
    """How many steps stand in a row, so that the rows are about as long as each other."""
    most = min(_MOST_IN_A_ROW, max(1, int(width // _STEP_WIDTH)))
    rows = -(-steps // most)
    return -(-steps // rows)


def _style(theme: Theme, columns: int) -> str:
    states = "".join(
        f".ppl-{state.value}{{color:{colour}}}" for state, colour in theme.states.items()
    )
    return (
        "<style>"
        f".ppl{{box-sizing:border-box;max-width:100%;padding:8px;background:{theme.background};"
        f"color:{theme.text};font:13px/1.4 sans-serif;overflow-wrap:anywhere}}"
        ".ppl p,.ppl h3,.ppl ul,.ppl ol{margin:0 0 6px;padding:0}"
        ".ppl h3{font-size:13px;font-weight:bold}"
        ".ppl ul{list-style:none;columns:460px;column-gap:32px}"
        ".ppl ul li{break-inside:avoid;margin-bottom:6px;padding-left:22px}"
        ".ppl table{border-collapse:collapse}"
        ".ppl th,.ppl td{padding:0 12px 2px 0;text-align:left;vertical-align:top}"
        ".ppl tr :last-child{padding-right:0}"
        ".ppl th[scope=col]{min-width:70px}"
        ".ppl th:first-child[scope=col]{min-width:100px}"
        ".ppl .ppl-verdict{font-size:16px;padding-left:22px}"
        ".ppl .ppl-road{display:grid;row-gap:4px;list-style:none;margin:8px 0;"
        f"grid-template-columns:repeat({columns},minmax(0,1fr))}}"
        ".ppl-road svg{display:block;width:100%;height:26px}"
        ".ppl-road b,.ppl-road span{display:block;padding-right:6px}"
        f".ppl-road span{{font-size:12px;color:{theme.text}}}"
        f".ppl line{{stroke:{theme.line};stroke-width:2}}"
        ".ppl circle,.ppl path{fill:none;stroke:currentColor;stroke-width:2}"
        ".ppl path{stroke-width:3}"
        ".ppl-mark{width:18px;height:18px;margin:0 4px 0 -22px;vertical-align:-4px}"
        f".ppl rect{{fill:{theme.line}}}"
        ".ppl-bar{display:block;width:90px;height:12px;margin-top:3px}"
        ".ppl-now{display:flex;flex-wrap:wrap;gap:8px 32px}"
        f"{states}</style>"
    )


def _verdict(status_report: StatusReport) -> str:
    state = CheckState.OK if status_report.healthy else _worst(status_report.checks)
    word = "healthy" if status_report.healthy else "not healthy"
    return (
        f'<h3 class="ppl-verdict ppl-{state.value}">{_mark(state)}{word}</h3>'
        f"<p>{_text(status_report.summary)}</p>"
        f"<p>{_text(status_report.stack)}, seen {_text(moment(status_report.at))}</p>"
    )


def _worst(checks: Iterable[StatusCheck]) -> CheckState:
    """Of a road that is not healthy: broken, or else unknown."""
    return (
        CheckState.BROKEN
        if any(c.state is CheckState.BROKEN for c in checks)
        else CheckState.UNKNOWN
    )


def _troubles(checks: Iterable[StatusCheck]) -> str:
    found = sorted(
        (check for check in checks if check.state in _TROUBLES),
        key=lambda check: _TROUBLES.index(check.state),
    )
    if not found:
        return ""
    items = [_trouble(check) for check in found[:_MOST_TROUBLES]]
    items += _rest(len(found) - _MOST_TROUBLES)
    return f"<h3>What to do</h3><ul>{''.join(items)}</ul>"


def _trouble(check: StatusCheck) -> str:
    seen = [*map(_text, check.seen[:_MOST_SEEN]), *(["…"] if check.seen[_MOST_SEEN:] else [])]
    remedy = f"<div><b>Remedy:</b> {_text(check.remedy)}</div>" if check.remedy else ""
    return (
        f'<li><b class="ppl-{check.state.value}">{_mark(check.state)}{check.state.value}:'
        f" {check.step.value}</b><div>{' '.join(seen)}</div>{remedy}</li>"
    )


def _rest(more: int) -> list[str]:
    return [f"<li>… and {more} more</li>"] if more > 0 else []


def _mark(state: CheckState) -> str:
    """The symbol beside the word, so that no colour is needed to tell the state."""
    return (
        '<svg class="ppl-mark" viewBox="0 0 26 26" aria-hidden="true">'
        f'<path d="{MARKS[state]}"></path></svg>'
    )


def _road(checks: Sequence[StatusCheck]) -> str:
    steps = "".join(_step(check, is_last=check is checks[-1]) for check in checks)
    return f'<h3>The road, step by step</h3><ol class="ppl-road">{steps}</ol>'


def _step(check: StatusCheck, *, is_last: bool) -> str:
    # The line is broken where the road is, and ends where the road does.
    dashes = ' stroke-dasharray="3 6"' if check.state is CheckState.BROKEN else ""
    line = "" if is_last else f'<line x1="24" y1="13" x2="100%" y2="13"{dashes}></line>'
    return (
        f'<li class="ppl-{check.state.value}"><svg aria-hidden="true">{line}'
        f'<circle cx="13" cy="13" r="11"></circle><path d="{MARKS[check.state]}"></path></svg>'
        f"<b>{check.state.value}</b><span>{check.step.value}</span></li>"
    )


def _targets(status_report: StatusReport) -> str:
    if status_report.targets is None:
        return _section("Targets", _seen(status_report, CheckId.TARGET_HEALTH))
    if not status_report.targets:
        return _section("Targets", "<p>No target is registered.</p>")
    shown = status_report.targets[:_MOST_TARGETS]
    has_reasons = any(target.reason for target in shown)
    heads = ("Target", "State", "Why") if has_reasons else ("Target", "State")
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    rows = "".join(_target(target, has_reasons=has_reasons) for target in shown)
    rest = "".join(_rest(len(status_report.targets) - _MOST_TARGETS))
    return _section(
        "Targets",
        f"<table><tr>{head}</tr>{rows}</table>" + (f"<ul>{rest}</ul>" if rest else ""),
    )


def _target(target: DescribedTarget, *, has_reasons: bool) -> str:
    why = f"{target.reason}: {explained(target.reason).meaning}" if target.reason else ""
    cell = f"<td>{_text(why)}</td>" if has_reasons else ""
    return f"<tr><td>{_text(target)}</td><td>{target.state.value}</td>{cell}</tr>"


def _last_change(status_report: StatusReport) -> str:
    change = status_report.last_change
    if change is None:
        return _section("Last failover", _seen(status_report, CheckId.LAST_FAILOVER))
    return _section(
        "Last failover",
        f"<p>Followed {_text(moment(change.at))}; seconds after its trigger:</p>"
        f"<table>{_timeline(change)}</table>",
    )


def _timeline(change: FollowedChange) -> str:
    times = {
        "detected": change.to_detect,
        "registered": change.to_register,
        "healthy": change.to_healthy,
    }
    longest = max([1.0, *(seconds for seconds in times.values() if seconds is not None)])
    return "".join(_lap(name, seconds, longest) for name, seconds in times.items())


def _lap(name: str, seconds: float | None, longest: float) -> str:
    if seconds is None:
        return f'<tr><th scope="row">{name}</th><td></td><td>not seen</td></tr>'
    share = max(0.0, 100 * seconds / longest)
    return (
        f'<tr><th scope="row">{name}</th><td><svg class="ppl-bar" aria-hidden="true">'
        f'<rect width="{share:.1f}%" height="12"></rect></svg></td><td>{seconds:.1f} s</td></tr>'
    )


def _seen(status_report: StatusReport, step: CheckId) -> str:
    """What the step's own check says, where there is nothing to draw."""
    return "".join(
        f"<p>{_text(text)}</p>"
        for check in status_report.checks
        if check.step is step
        for text in check.seen[:_MOST_SEEN]
    )


def _section(title: str, content: str) -> str:
    return f"<div><h3>{title}</h3>{content}</div>"

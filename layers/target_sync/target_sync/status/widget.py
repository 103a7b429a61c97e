"""Draws the status report as a CloudWatch custom widget: static HTML and SVG.

CloudWatch removes scripts from a widget (CloudWatch user guide, *Details about custom widgets*).
The widget does not rely on this: every text goes through `_text`, and no text becomes a part of an
attribute, a style or an address.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from target_sync.model import TargetState
from target_sync.notifications.messages import plain
from target_sync.status.checks.result import CheckId, CheckState
from target_sync.status.facts import DescribedTarget
from target_sync.status.report import StatusCheck, StatusReport, by_urgency, moment
from target_sync.targets.health_reasons import explain

#: Bytes of one escaped text, so that a long text does not make the widget too large.
_MAX_TEXT_BYTES = 400
_MAX_DETAILS = 3
_MAX_PROBLEMS = 7
_MAX_TARGETS = 6
#: Pixels for the name of one check.
_CHECK_WIDTH = 107
_MAX_COLUMNS = 11
#: Pixels for the columns of a table.
_NARROW = 280
_PROBLEMS = (CheckState.BROKEN, CheckState.UNKNOWN, CheckState.WARNING)
#: The symbols of `report.SYMBOLS` as paths in a square of 26 pixels. The console's font, Open Sans,
#: does not have all of them.
SYMBOL_PATHS: Mapping[CheckState, str] = {
    CheckState.OK: "M7 14l4 4 8-10",
    CheckState.WARNING: "M13 6v9M13 18v2",
    CheckState.BROKEN: "M8 8l10 10M18 8l-10 10",
    CheckState.UNKNOWN: "M9.5 9.5a3.5 3.5 0 1 1 5.5 3c-1.5 1-2 1.5-2 3M13 18.5v2",
    CheckState.SKIPPED: "M8 13h10",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The width of the visible part in pixels, and whether the console's theme is dark."""

    width: float = 600.0
    dark: bool = False


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours of a theme. Each has contrast AAA on the background (WCAG 2.2)."""

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


def to_html(report: StatusReport, frame: Frame) -> str:
    """Return the report as one element of less than 30 kB, with its own style."""
    theme = DARK if frame.dark else LIGHT
    return (
        # The second class switches off CloudWatch's own style of lists and tables.
        '<div class="ppl cwdb-no-default-styles">'
        + _style(theme, _columns(frame.width, len(report.checks)))
        + _table_style(frame.width)
        + _summary(report)
        + _problems(report.checks)
        + _path(report.checks)
        + f'<div class="ppl-now">{_targets(report)}{_last_change(report)}</div></div>'
    )


def _text(value: object) -> str:
    """Return a text from any source as one escaped line of limited length."""
    kept: list[str] = []
    room = _MAX_TEXT_BYTES
    for character in plain(value):
        piece = escape(character)
        room -= len(piece.encode())
        if room < 0:
            return "".join([*kept, "…"])
        kept.append(piece)
    return "".join(kept)


def _columns(width: float, checks: int) -> int:
    """Return the number of checks in a row, so that all rows have about the same length."""
    most = min(_MAX_COLUMNS, max(1, int(width // _CHECK_WIDTH)))
    rows = -(-checks // most)
    return -(-checks // rows)


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
        ".ppl .ppl-summary{font-size:16px;padding-left:22px}"
        ".ppl .ppl-path{display:grid;row-gap:4px;list-style:none;margin:8px 0;"
        f"grid-template-columns:repeat({columns},minmax(0,1fr))}}"
        ".ppl-path svg{display:block;width:100%;height:26px}"
        ".ppl-path b,.ppl-path span{display:block;padding-right:6px}"
        f".ppl-path span{{font-size:12px;color:{theme.text}}}"
        f".ppl line{{stroke:{theme.line};stroke-width:2}}"
        ".ppl circle,.ppl path{fill:none;stroke:currentColor;stroke-width:2}"
        ".ppl path{stroke-width:3}"
        ".ppl-symbol{width:18px;height:18px;margin:0 4px 0 -22px;vertical-align:-4px}"
        f".ppl rect{{fill:{theme.line}}}"
        ".ppl-bar{display:block;height:12px;margin-top:3px}"
        ".ppl-now{display:flex;flex-wrap:wrap;gap:8px 32px}"
        f"{states}</style>"
    )


def _table_style(width: float) -> str:
    """Return the widths of the columns. A narrow widget has no room for a minimum."""
    if width < _NARROW:
        return "<style>.ppl-bar{width:30px}</style>"
    return (
        "<style>.ppl th[scope=col]{min-width:70px}"
        ".ppl th:first-child[scope=col]{min-width:100px}.ppl-bar{width:90px}</style>"
    )


def _summary(report: StatusReport) -> str:
    return (
        f'<h3 class="ppl-summary ppl-{report.state.value}">{_symbol(report.state)}'
        f"{report.heading}</h3><p>{_text(report.summary)}</p>"
        f"<p>{_text(report.stack)}, {_text(moment(report.at))}</p>"
    )


def _problems(checks: Sequence[StatusCheck]) -> str:
    found = by_urgency([check for check in checks if check.state in _PROBLEMS])
    if not found:
        return ""
    items = [_problem(check) for check in found[:_MAX_PROBLEMS]]
    items += _rest(len(found) - _MAX_PROBLEMS)
    return f"<h3>What to do</h3><ul>{''.join(items)}</ul>"


def _problem(check: StatusCheck) -> str:
    details = [*map(_text, check.details[:_MAX_DETAILS])]
    details += ["…"] if check.details[_MAX_DETAILS:] else []
    remedy = f"<div><b>Remedy:</b> {_text(check.remedy)}</div>" if check.remedy else ""
    return (
        f'<li><b class="ppl-{check.state.value}">{_symbol(check.state)}{check.state.value}:'
        f" {check.id.value}</b><div>{' '.join(details)}</div>{remedy}{_command(check)}</li>"
    )


def _command(check: StatusCheck) -> str:
    """Return the command of the remedy. A person could paste a part of it, so it is never cut."""
    if not check.command:
        return ""
    shown = _text(check.command)
    is_whole = shown == escape(check.command)
    return f"<div><b>Command:</b> {shown if is_whole else 'see the text report'}</div>"


def _rest(more: int) -> list[str]:
    return [f"<li>… and {more} more</li>"] if more > 0 else []


def _symbol(state: CheckState) -> str:
    """Return the symbol beside the word, so that a reader needs no colours."""
    return (
        '<svg class="ppl-symbol" viewBox="0 0 26 26" aria-hidden="true">'
        f'<path d="{SYMBOL_PATHS[state]}"></path></svg>'
    )


def _path(checks: Sequence[StatusCheck]) -> str:
    items = "".join(_check(check, is_last=check is checks[-1]) for check in checks)
    return f'<h3>Status checks</h3><ol class="ppl-path">{items}</ol>'


def _check(check: StatusCheck, *, is_last: bool) -> str:
    # A line joins the checks to a path. It is dashed after a broken check.
    dashes = ' stroke-dasharray="3 6"' if check.state is CheckState.BROKEN else ""
    line = "" if is_last else f'<line x1="24" y1="13" x2="100%" y2="13"{dashes}></line>'
    return (
        f'<li class="ppl-{check.state.value}"><svg aria-hidden="true">{line}'
        '<circle cx="13" cy="13" r="11"></circle>'
        f'<path d="{SYMBOL_PATHS[check.state]}"></path></svg>'
        f"<b>{check.state.value}</b><span>{check.id.value}</span></li>"
    )


def _targets(report: StatusReport) -> str:
    if report.targets is None:
        return _section("Targets", _details(report, CheckId.TARGET_HEALTH))
    if not report.targets:
        return _section("Targets", "<p>No target is registered.</p>")
    # The targets that need attention first. The sort keeps the order of the others.
    by_health = sorted(report.targets, key=lambda target: target.state is TargetState.HEALTHY)
    shown = by_health[:_MAX_TARGETS]
    has_reasons = any(target.reason for target in shown)
    heads = ("Target", "State", "Reason") if has_reasons else ("Target", "State")
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    rows = "".join(_target(target, has_reasons=has_reasons) for target in shown)
    rest = "".join(_rest(len(report.targets) - _MAX_TARGETS))
    return _section(
        "Targets", f"<table><tr>{head}</tr>{rows}</table>" + (f"<ul>{rest}</ul>" if rest else "")
    )


def _target(target: DescribedTarget, *, has_reasons: bool) -> str:
    reason = f"{target.reason}: {explain(target.reason).meaning}" if target.reason else ""
    cell = f"<td>{_text(reason)}</td>" if has_reasons else ""
    return f"<tr><td>{_text(target)}</td><td>{target.state.value}</td>{cell}</tr>"


def _last_change(report: StatusReport) -> str:
    change = report.last_change
    if change is None:
        return _section("Last failover", _details(report, CheckId.LAST_FAILOVER))
    phases = {
        "detected": change.to_detect,
        "registered": change.to_register,
        "healthy": change.to_healthy,
    }
    longest = max([1.0, *(seconds for seconds in phases.values() if seconds is not None)])
    rows = "".join(_phase(name, seconds, longest) for name, seconds in phases.items())
    return _section(
        "Last failover",
        f"<p>Run of {_text(moment(change.at))}, seconds after its trigger:</p>"
        f"<table>{rows}</table>",
    )


def _phase(name: str, seconds: float | None, longest: float) -> str:
    if seconds is None:
        return f'<tr><th scope="row">{name}</th><td></td><td>unknown</td></tr>'
    share = max(0.0, 100 * seconds / longest)
    return (
        f'<tr><th scope="row">{name}</th><td><svg class="ppl-bar" aria-hidden="true">'
        f'<rect width="{share:.1f}%" height="12"></rect></svg></td><td>{seconds:.1f} s</td></tr>'
    )


def _details(report: StatusReport, id_: CheckId) -> str:
    return "".join(
        f"<p>{_text(detail)}</p>"
        for check in report.checks
        if check.id is id_
        for detail in check.details[:_MAX_DETAILS]
    )


def _section(title: str, content: str) -> str:
    return f"<div><h3>{title}</h3>{content}</div>"

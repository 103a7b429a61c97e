"""``make docs``: write into the pages what the code, the templates and the lab say.

``<!-- generated: NAME -->`` stands above a table of this kind. ``TABLES[NAME]`` returns the first
cells of its rows. The other cells are prose, which stays with its row. In a new row they are
``TO_WRITE``, until a person writes them.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from functools import partial

from cost.model import Inputs, balancers, stacks, total
from cost.page import DATABASES
from cost.prices import load_prices
from drill.__main__ import parser
from drill.run import Exit
from lab.scenarios.faults import FAULTS
from target_sync import errors
from target_sync.connections.decisions import ConnectionPolicy, decide
from target_sync.connections.messages import notification_of as connection_notification
from target_sync.connections.result import ReviewResult, ReviewStatus
from target_sync.fleet.model import ENDPOINT_TAG, KIND_TAG, POLICY_TAG, FindingCode
from target_sync.model import DatabaseKind, LookupFailure, RunStatus
from target_sync.notifications.messages import BusEvent
from target_sync.ports import Reportable
from target_sync.reconcile.loop import WaitsFor
from target_sync.reconcile.planner import Action, VetoCode
from target_sync.reconcile.result import SyncResult
from target_sync.reporting import PowertoolsReporter
from target_sync.status.checks.result import CheckState
from target_sync.status.report import make_report
from target_sync.targets.group_settings import CROSS_ZONE, GROUP_ATTRIBUTES, HEALTH_CHECK
from tests.functional import (
    test_continuous_polling,
    test_failover_scenarios,
    test_serving_standby,
    test_warm_targets,
)
from tests.support.connections import ORIGIN, OTHER, TRUSTED, FakeEndpointService
from tests.support.monitoring import alarms, graphs
from tests.support.notifications import NotifiedScenario
from tests.support.scenario import COMPLETED, EVENT, A, B
from tests.support.scenarios import OUTCOMES, Outcome, metrics_with_units
from tests.support.status import DEPLOYMENT, FACTS
from tests.support.warm_targets import WarmScenario
from tests.template.pages import PAGES, ROOT, read
from tests.template.stack import FLEET_TEMPLATE, Resolver, load
from tools.template_tables import (
    Row,
    code,
    of_type,
    permissions,
    replacements,
    security_group_rules,
    service_grants,
)

TO_WRITE = "…"
MARKED = re.compile(r"^(<!-- generated: ([\w-]+) -->\n)((?:\|.*\n)+)", re.MULTILINE)


def updated(text: str) -> str:
    """Return the text of a page with its tables up to date."""
    return MARKED.sub(lambda found: found[1] + _table(TABLES[found[2]](), found[3]), text)


def _table(rows: Iterable[Row], shown: str) -> str:
    """Return a table with these rows, in this order, or a set of rows in the order of the page."""
    head, rule, *lines = shown.splitlines()
    rows = list(rows) if (is_ordered := not isinstance(rows, AbstractSet)) else sorted(rows)
    width = len(rows[0])
    prose = {cells[:width]: cells[width:] for cells in map(_cells, lines) if all(cells[width:])}
    if not is_ordered:
        places = list(prose)
        rows.sort(key=lambda row: places.index(row) if row in prose else len(places))
    missing = (TO_WRITE,) * (len(_cells(head)) - width)
    new = [f"| {' | '.join((*row, *prose.get(row, missing)))} |" for row in rows]
    return "\n".join([head, rule, *new, ""]).replace("|  |", "| |")


def _cells(line: str) -> Row:
    return tuple(cell.strip() for cell in line.strip()[1:-1].split("|"))


def _decisions() -> list[Row]:
    lines = (decide.__doc__ or "").splitlines()
    return [_cells(line) for line in lines if line.strip().startswith("|")][2:]


def _set(values: Iterable[object]) -> set[Row]:
    """Return a row for each value, in no order."""
    return {(code(value),) for value in values}


def _list(values: Iterable[object]) -> list[Row]:
    """Return a row for each value, in their order."""
    return [(code(value),) for value in values]


def _metrics(result: Reportable) -> set[Row]:
    """Return the metrics of a run with their units, as the log has them."""
    written = metrics_with_units(lambda: PowertoolsReporter().report(result))
    return {(code(name), unit) for name, unit, _ in written}


def _errors() -> set[Row]:
    kinds = [error for error in vars(errors).values() if isinstance(error, type)]
    base = errors.TargetSyncError
    return {
        (code(error.__name__), "yes" if error.retryable else "no")
        for error in kinds
        if issubclass(error, base) and error is not base
    }


def _failover() -> NotifiedScenario:
    scenario = NotifiedScenario(A)
    scenario.fail_over(B)
    scenario.run(EVENT)
    return scenario


def _warm_failover() -> SyncResult:
    """Return the result of a run of a stack with warm targets that followed a failover."""
    scenario = WarmScenario(A, B, candidates=[B], addresses=[A], listening=[A])
    scenario.fail_over(B)
    return scenario.run(EVENT)


def sync_event() -> BusEvent:
    """Return the event of a run that followed a failover."""
    return _failover().notifier.bus.events[0]


def veto_event() -> BusEvent:
    """Return the event of a run that a guard stopped."""
    scenario = NotifiedScenario(A)
    scenario.endpoint.set_addresses("8.8.8.8")
    scenario.run(COMPLETED)
    return scenario.notifier.bus.events[0]


def connection_event(account: str) -> BusEvent:
    """Return the event of a connection request from an account."""
    service = FakeEndpointService()
    service.request(account)
    policy = ConnectionPolicy(trusted_accounts=frozenset({TRUSTED}))
    (decision,) = (decide(connection, policy) for connection in service.connections())
    return connection_notification(decision, ORIGIN, at=0.0).event


def _events() -> list[Row]:
    events = (sync_event(), veto_event(), connection_event(TRUSTED), connection_event(OTHER))
    return _list(event.detail_type for event in events)


def _faults() -> list[Row]:
    return [
        (fault.name, f"[`{fault.check}`](status.md#{fault.check})", code(*fault.alarms) or "none")
        for fault in FAULTS
    ]


def _failure_scenarios() -> Iterable[Row]:
    for module in (
        test_failover_scenarios,
        test_continuous_polling,
        test_serving_standby,
        test_warm_targets,
    ):
        for name, outcome in OUTCOMES.items():
            if hasattr(module, name):
                yield (
                    outcome.description,
                    name.removeprefix("test_").replace("_", " "),
                    f"{outcome.refused:g} s",
                    f"{outcome.misrouted:g} s",
                    _visible(outcome),
                )


def _visible(outcome: Outcome) -> str:
    return code(*outcome.metrics).replace("`no ", "no `")


def _costs() -> list[Row]:
    prices, inputs = load_prices(), Inputs.load()
    made = [total(balancers(inputs, n), prices) for n in DATABASES]
    single = [total(stacks(inputs, n), prices) for n in DATABASES]
    ways = {
        "a stack each": [one + other for one, other in zip(single, made, strict=True)],
        "of it the load balancers": made,
    }
    return [(way, *(f"${usd:,.0f}" for usd in costs)) for way, costs in ways.items()]


def _graphs() -> list[Row]:
    return [
        (graph["title"], code(*dict.fromkeys(line[1] for line in graph["metrics"])))
        for graph in graphs()
    ]


def _options() -> list[Row]:
    listed = re.findall(r"^  (--[a-z]+(?: [A-Z:\[\]]+)?)", parser().format_help(), re.MULTILINE)
    # The Makefile has variables for these two.
    return _list(option for option in listed if option.split()[0] not in {"--stack", "--region"})


def _fleet_parameters() -> list[Row]:
    return [
        (code(name), code(parameter["Default"]) if parameter["Default"] != "" else "")
        for name, parameter in load(FLEET_TEMPLATE)["Parameters"].items()
    ]


def _group_settings() -> list[Row]:
    settings = {**GROUP_ATTRIBUTES, CROSS_ZONE: "true", **HEALTH_CHECK}
    return [(code(name), code(value)) for name, value in settings.items()]


def _fleet_alarms() -> list[Row]:
    found = Resolver(path=FLEET_TEMPLATE).of_type("AWS::CloudWatch::Alarm").values()
    names = [alarm["AlarmName"].removeprefix("postgres-privatelink-") for alarm in found]
    return [(f"[`{name}`](runbook.md#{name})",) for name in names]


def _queries() -> list[Row]:
    found = Resolver().of_type("AWS::Logs::QueryDefinition").values()
    return _list(query["Name"].partition("/")[2] for query in found)


TABLES: Mapping[str, Callable[[], Iterable[Row]]] = {
    "run-statuses": lambda: _set(RunStatus),
    "actions": lambda: _set(Action),
    "vetoes": lambda: _set(VetoCode),
    "waits": lambda: _set(WaitsFor),
    "run-fields": lambda: _list(_warm_failover().to_document()),
    "run-metrics": lambda: _metrics(_warm_failover()),
    "errors": _errors,
    "failed-observations": lambda: _set(LookupFailure),
    "failure-scenarios": _failure_scenarios,
    "review-decisions": _decisions,
    "review-fields": lambda: _list(ReviewResult(trigger={}).to_document()),
    "review-statuses": lambda: _set(ReviewStatus),
    "review-metrics": lambda: _metrics(ReviewResult(trigger={})),
    "kinds": lambda: _list(DatabaseKind),
    "costs": _costs,
    "drill-exits": lambda: [(str(int(status)),) for status in Exit],
    "drill-options": _options,
    "alarms": lambda: _list(alarms()),
    "events": _events,
    "sync-event-fields": lambda: _list(sync_event().detail),
    "connection-event-fields": lambda: _list(connection_event(TRUSTED).detail),
    "faults": _faults,
    "queries": _queries,
    "report-fields": lambda: _list(make_report(FACTS, DEPLOYMENT).to_document()),
    "check-states": lambda: _set(CheckState),
    "graphs": _graphs,
    "fleet-parameters": _fleet_parameters,
    "fleet-tags": lambda: _list((ENDPOINT_TAG, KIND_TAG, POLICY_TAG)),
    "group-settings": _group_settings,
    "fleet-findings": lambda: _list(FindingCode),
    "fleet-alarms": _fleet_alarms,
    "security-groups": security_group_rules,
    "service-grants": service_grants,
    "replacements": replacements,
    **{role: partial(permissions, role) for role in of_type("AWS::IAM::Role")},
}
"""The first cells of the rows of each table, by the name in its marker."""


def main() -> None:
    """Write the tables of all pages."""
    for page in PAGES:
        (ROOT / page).write_text(updated(read(page)))


if __name__ == "__main__":
    main()

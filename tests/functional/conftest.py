"""What the tests of several functions start with."""

import pytest


@pytest.fixture
def _powertools(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    # Powertools keeps one handler per service name, and with it the standard output of the
    # test that was first: so each test is a service of its own.
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", request.node.name)
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "PostgresPrivateLink")

"""What writes records and metrics checks its variables before the run."""

import pytest

from target_sync.errors import SettingsError
from target_sync.reporting import PowertoolsReporter


@pytest.mark.usefixtures("_powertools")
@pytest.mark.parametrize(
    ("name", "value"), [("POWERTOOLS_METRICS_NAMESPACE", ""), ("POWERTOOLS_LOG_LEVEL", "LOUD")]
)
def test_an_invalid_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError, match=name):
        PowertoolsReporter()

"""The order of the test files, Hypothesis settings, and isolation from the machine.

No credentials and no settings of the machine reach a test.
"""

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from target_sync import aws

# A slow machine must not fail a test, so no example has a time limit. Chance must not either, so
# each run has the same examples; `make histories` plays others with each seed.
settings.register_profile("repeatable", parent=settings(), deadline=None, derandomize=True)
settings.load_profile("repeatable")

#: The slowest files start first: they mostly wait, so the other files run beside them.
_FIRST = (
    "test_scenarios.py",
    "test_documented_commands.py",
    "test_histories.py",
    "test_demo.py",
    "test_wrong_deployments.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(
        key=lambda item: _FIRST.index(item.path.name) if item.path.name in _FIRST else len(_FIRST)
    )


def pytest_collection_finish() -> None:
    """Collect garbage again: the import of a function ends that until the function's first run."""
    gc.enable()


@pytest.fixture(autouse=True)
def _isolated_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith(("AWS_", "POWERTOOLS_", "SAM_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    # moto would create 1,300 images for each test, which takes a second.
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")


@pytest.fixture(autouse=True)
def _full_models() -> Iterator[None]:
    """Drop a session with small models: in Lambda each function has a process of its own."""
    yield
    session = aws._session  # noqa: SLF001 - no code of a function drops its session
    if session.cache_info().currsize and session().get_config_variable("data_path"):
        session.cache_clear()

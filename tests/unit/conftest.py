"""Unit tests have no sockets."""

import pytest
import pytest_socket


@pytest.fixture(autouse=True)
def _no_sockets(request: pytest.FixtureRequest) -> None:
    # The socket tests of the lab's own servers live elsewhere; here nothing may open one.
    pytest_socket.disable_socket()
    request.addfinalizer(pytest_socket.enable_socket)  # noqa: PT021 - undo must run in any case

import socket
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from lab.addresses import (
    AddressPlan,
    AddressPlanError,
    Endpoint,
    Ports,
    ReplacedFile,
    free_port,
    free_port_on,
    write_atomically,
)

STANDBY = Endpoint.parse("10.0.2.12:5432")
PLAN = AddressPlan(
    {
        Endpoint.parse("10.0.1.11:5432"): Endpoint.parse("127.0.0.2:54329"),
        STANDBY: Endpoint.parse("127.0.0.3:54329"),
    }
)


def test_locates_a_planned_address_on_loopback() -> None:
    assert PLAN.locate("10.0.2.12", 5432) == ("127.0.0.3", 54329)
    assert PLAN.locate(IPv4Address("10.0.1.11"), 5432) == ("127.0.0.2", 54329)


def test_the_same_address_on_another_port_is_unreachable() -> None:
    assert PLAN.locate("10.0.1.11", 5433) is None


def test_loads_a_saved_plan_and_leaves_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    plan = replace(PLAN, closed=frozenset({STANDBY}))

    plan.save(path)

    assert AddressPlan.load(path) == plan
    assert [entry.name for entry in tmp_path.iterdir()] == ["plan.json"]


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "not json",
        '{"sockets": {}}',
        '{"sockets": [], "closed": []}',
        '{"sockets": {}, "closed": 1}',
        '{"sockets": {}, "closed": ["10.0.1.11"]}',
        '{"sockets": {"10.0.1.11": "127.0.0.2:1"}, "closed": []}',
        '{"sockets": {"10.0.1.11:5432": 5432}, "closed": []}',
        '{"sockets": {"10.0.1.11:0": "127.0.0.2:1"}, "closed": []}',
        '{"sockets": {"10.0.1.11:5432": "192.0.2.1:5432"}, "closed": []}',
    ],
)
def test_rejects_a_file_without_a_plan(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)

    with pytest.raises(AddressPlanError, match=r"plan\.json is not an address plan"):
        AddressPlan.load(path)


def test_a_closed_port_is_unreachable_until_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    PLAN.save(path)
    ports, plan = Ports(path), ReplacedFile(path, AddressPlan.load)

    ports.close(STANDBY)
    closed = plan.content
    ports.open(STANDBY)

    assert closed.locate(STANDBY.address, STANDBY.port) is None
    assert closed.locate("10.0.1.11", 5432) == ("127.0.0.2", 54329)
    assert plan.content == PLAN


def test_reads_a_file_again_only_after_a_replacement(tmp_path: Path) -> None:
    path, reads = tmp_path / "zone.json", list[str]()

    def read(path: Path) -> str:
        reads.append(path.read_text())
        return reads[-1]

    write_atomically(path, "old")
    file = ReplacedFile(path, read)
    before = [file.content, file.content]
    write_atomically(path, "new")

    assert before == ["old", "old"]
    assert [file.content, file.content] == ["new", "new"]
    assert reads == ["old", "new"]


def test_a_failed_write_keeps_the_old_file_and_leaves_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text("old")

    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_free_port_can_be_bound() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port("127.0.0.1")))


def test_a_common_port_is_free_on_every_host() -> None:
    hosts = ["127.0.0.2", "127.0.0.3"]
    port = free_port_on(hosts)

    for host in hosts:
        with socket.socket() as listener:
            listener.bind((host, port))


def test_a_host_of_another_machine_has_no_free_port() -> None:
    with pytest.raises(OSError, match="assign requested address"):
        free_port("192.0.2.1")

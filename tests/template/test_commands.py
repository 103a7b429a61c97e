"""Commands in the sentences of pages and remedies are valid for their program.

tests/lab/test_documented_commands.py runs the blocks of commands on the pages.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from awscli.clidriver import create_clidriver
from click import Context
from samcli.cli.main import cli as sam

from tests.template.pages import PAGES, ROOT, code_spans, read

_AWS = re.compile(r"\baws ([a-z0-9]+) ([a-z]+(?:-[a-z]+)+)(.*?)(?=\baws [a-z]|$)", re.DOTALL)
_OPTION = re.compile(r"(?<!\S)--([a-z][a-z-]+)")
_GLOBAL = {"region", "output", "query"}
_SAM = re.compile(r"(?:\.venv/bin/)?sam ((?:[a-z]+ ?)+)(.*)")


def texts_of_code() -> Iterator[str]:
    """Return the texts in the layer's code, without the values of f-strings."""
    for file in sorted(ROOT.glob("layers/target_sync/target_sync/**/*.py")):
        tree = ast.parse(file.read_text())
        filled = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
        parts = {id(part) for text in filled for part in text.values}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                yield "".join(str(p.value) for p in node.values if isinstance(p, ast.Constant))
            elif isinstance(node, ast.Constant) and id(node) not in parts:
                yield str(node.value)


def aws_commands(text: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Return service, operation and options of each AWS CLI command in a text."""
    for service, operation, rest in _AWS.findall(text):
        yield service, operation, tuple(_OPTION.findall(rest))


IN_CODE = sorted({command for text in texts_of_code() for command in aws_commands(text)})
IN_PAGES = sorted(
    {command for page in PAGES for span in code_spans(read(page)) for command in aws_commands(span)}
)
SAM: dict[str, set[str]] = {}
for _span in (span for page in PAGES for span in code_spans(read(page))):
    if _found := _SAM.fullmatch(_span):
        SAM.setdefault(_found[1].strip(), set()).update(_OPTION.findall(_found[2]))


@cache
def operations(service: str) -> Any:
    """Return the operations of a service in the AWS CLI, which has no public API for this."""
    table = create_clidriver()._get_command_table()  # noqa: SLF001
    return table[service]._get_command_table()  # noqa: SLF001


@pytest.mark.parametrize(("service", "operation", "options"), [*IN_CODE, *IN_PAGES])
def test_the_aws_cli_accepts_a_command(
    service: str, operation: str, options: tuple[str, ...]
) -> None:
    assert set(options) <= operations(service)[operation].arg_table.keys() | _GLOBAL


@pytest.mark.parametrize("words", SAM)
def test_sam_accepts_a_command(words: str) -> None:
    command = sam
    for word in words.split():
        # SAM loads a command only if the context has an object.
        command = command.get_command(Context(command, obj="any"), word)
        assert command is not None, f"sam has no {word}"
    assert SAM[words] <= {
        option.removeprefix("--") for parameter in command.params for option in parameter.opts
    }


def test_finds_commands_in_code_and_pages() -> None:
    options = ("region", "service-id", "vpc-endpoint-ids")
    assert ("ec2", "accept-vpc-endpoint-connections", options) in IN_CODE
    assert "guided" in SAM["deploy"]

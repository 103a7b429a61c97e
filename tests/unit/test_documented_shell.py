"""How the tests take the commands from a page, and what a command leaves to the next."""

import os
from pathlib import Path

import pytest

from tests.support.shell import Shell, commands

PAGE = """
# Page
```json
{"not": "a command"}
```
## Part
Text.
```sh
# why
one --a 1 \\
  --b '2
3'   # what for

hi() { echo \\
  "$1"; }
two
```
"""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path, {"PATH": os.environ["PATH"]})


def test_a_block_is_taken_apart_into_whole_commands() -> None:
    found = list(commands("page.md", PAGE))
    assert [command.text.splitlines()[0] for command in found] == [
        "one --a 1 \\",
        "hi() { echo \\",
        "two",
    ]
    assert {(command.page, command.section) for command in found} == {("page.md", "Part")}


def test_a_command_is_named_without_its_comment_on_one_line() -> None:
    (command,) = commands("page.md", "```sh\nmake  demo \\\n  X=1    # the lab\n```")
    assert command.name == "make demo X=1"


def test_a_block_that_ends_within_a_command_is_refused() -> None:
    with pytest.raises(ValueError, match="ends within"):
        list(commands("page.md", "```sh\nmake \\\n```"))


def test_what_a_command_sets_the_next_one_finds(shell: Shell) -> None:
    assert shell.run('A="one\ntwo"').status == 0
    assert shell.run('say() { echo "<$1>"; }').status == 0
    assert shell.run('say "$A"').printed == "<one\ntwo>\n"


def test_a_failure_anywhere_in_a_command_is_its_failure(shell: Shell) -> None:
    assert shell.run("false | true").status == 1
    assert shell.run("false; true").status == 1
    assert shell.run('echo "$NOT_SET"').status != 0


def test_a_command_gets_the_typed_text(shell: Shell) -> None:
    assert shell.run('read answer; echo "said $answer"', typed="y\n").printed == "said y\n"

"""The commands on a page, and a shell that runs them."""

import os
import re
import shlex
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_SHELL_BLOCK = "```sh"
_OPTIONS = "set -euo pipefail -o allexport"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command of a page, with its continuation lines.

    Attributes:
        page: The page's path in the repository.
        section: The heading above it.
        text: The command as written.
    """

    page: str
    section: str
    text: str

    @property
    def name(self) -> str:
        """The command without its comment, on one line."""
        return " ".join(re.sub(r"\s+#.*", "", self.text).replace("\\\n", " ").split())


def commands(page: str, text: str) -> Iterator[Command]:
    """Return the commands of a page's `sh` blocks, in order.

    Raises:
        ValueError: A block ends within a command.
    """
    section, language, typed = "", "", ""
    for line in text.splitlines():
        if line.startswith("```"):
            if typed:
                raise ValueError(f"{page}, {section}: the block ends within {typed!r}")
            language = "" if language else line
        elif not language and (heading := re.match(r"#+ (.+)", line)):
            section = heading[1]
        elif language == _SHELL_BLOCK and (typed or (line.strip() and line[0] != "#")):
            typed += f"{line}\n"
            if _is_complete(typed):
                yield Command(page=page, section=section, text=typed.strip())
                typed = ""


def _is_complete(typed: str) -> bool:
    """Return whether a shell would run the text instead of waiting for more lines."""
    if typed.endswith("\\\n") or typed.count("{") > typed.count("}"):
        return False
    try:
        shlex.split(typed, comments=True)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of a command."""

    status: int
    printed: str


class Shell:
    """A shell that keeps the variables from one command to the next.

    Args:
        folder: The working folder.
        environment: The initial environment variables.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = dict(environment)

    def run(self, text: str, *, typed: str = "", timeout: float = 3000) -> Outcome:
        """Run a command and wait for its end.

        Args:
            text: The command.
            typed: Its standard input.
            timeout: Seconds until it is stopped.

        Raises:
            subprocess.TimeoutExpired: It took longer.
        """
        receiving, sending = os.pipe()
        script = f"{_OPTIONS}\n{text}\nenv -0 >&{sending}\n"
        try:
            done = subprocess.run(
                ["bash", "-c", script],
                cwd=self._folder,
                env=self._environment,
                input=typed,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=timeout,
                pass_fds=[sending],
                check=False,
            )
        finally:
            os.close(sending)
        with os.fdopen(receiving) as file:
            variables = file.read()
        if done.returncode == 0:
            self._environment = dict(_pairs(variables.split("\0")))
        return Outcome(status=done.returncode, printed=done.stdout)


def _pairs(entries: Iterable[str]) -> Iterator[tuple[str, str]]:
    for entry in entries:
        name, equals, value = entry.partition("=")
        if equals:
            yield name, value

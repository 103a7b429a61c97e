"""Parse the Markdown pages of the repository for their tests."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PAGES = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.md", "docs/**/*.md", "events/*.md")
    for path in ROOT.glob(pattern)
)
"""The path of each page in the repository."""

_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
_SPAN = re.compile(r"`([^`\n]+)`")
_ROW = re.compile(r"^\|(.+)\|$")


def read(page: str) -> str:
    """Return the text of a page."""
    return (ROOT / page).read_text()


def without_blocks(text: str) -> str:
    """Return the text without its fenced blocks."""
    return _FENCE.sub("", text)


def code_spans(text: str) -> list[str]:
    """Return the content of each pair of single backticks."""
    return _SPAN.findall(without_blocks(text))


def code(text: str) -> str:
    """Return all code in spans and blocks, one piece a line."""
    return "\n".join([*_FENCE.findall(text), *code_spans(text)])


def blocks(text: str, language: str) -> list[str]:
    """Return the contents of the fenced blocks of one language."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [str(block) for block in found]


def anchors(text: str) -> set[str]:
    """Return the anchor of each heading, as GitHub forms it."""
    headings = (heading.lower() for _, heading in _HEADING.findall(without_blocks(text)))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}


def sections(text: str, level: int) -> dict[str, str]:
    """Return the text under each heading of a level, up to the next one of it or above."""
    found: dict[str, str] = {}
    current: str | None = None
    for line in text.splitlines(keepends=True):
        heading = _HEADING.match(line)
        if heading and len(heading[1]) <= level:
            current = heading[2] if len(heading[1]) == level else None
        if current is not None:
            found[current] = found.get(current, "") + line
    return found


def tables(text: str) -> list[list[list[str]]]:
    """Return the cells of each table with their backticks, without the heading."""
    found: list[list[list[str]]] = []
    before = ""
    for line in text.splitlines():
        row = _ROW.match(line)
        if row:
            if not _ROW.match(before):
                found.append([])
            found[-1].append([cell.strip() for cell in row[1].split("|")])
        before = line
    return [table[2:] for table in found]

"""Renders the pages and the figures of the benchmarks from ``bench/templates``."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from cost.markdown import table

_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(["svg"], default=False),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
#: Every template can call ``table(head, rows)`` for a Markdown table.
_ENVIRONMENT.globals["table"] = table


def render(template: str, **values: object) -> str:
    """Return a template with these values. SVG values are escaped.

    Raises:
        jinja2.UndefinedError: The template uses a value that is not given.
    """
    return _ENVIRONMENT.get_template(template).render(values)

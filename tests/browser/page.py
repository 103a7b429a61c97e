"""Queries about a page with the widget, which run inside the browser."""

from typing import Any

from playwright.sync_api import Page

#: Finds text outside the widget, outside its own element, or over another text.
_LAYOUT = """() => {
  const widget = document.querySelector(".ppl"), frame = widget.getBoundingClientRect();
  const found = [], lines = [];
  const wide = document.documentElement.scrollWidth;
  if (wide > innerWidth) found.push(`the page is ${wide} px wide and shows ${innerWidth}`);
  for (const element of widget.querySelectorAll("*")) {
    const display = getComputedStyle(element).display;
    if (display !== "inline" && element.scrollWidth > element.clientWidth + 1
        && !(element instanceof SVGElement) && element.tagName !== "STYLE")
      found.push(`<${element.tagName}> cuts: ${element.textContent.slice(0, 60)}`);
  }
  const texts = document.createTreeWalker(widget, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const node = texts.currentNode, range = document.createRange();
    if (node.parentElement.tagName === "STYLE") continue;
    if (node.parentElement.closest("svg")) found.push(`text in a drawing: ${node.data}`);
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) {
      if (box.left < frame.left - 1 || box.right > frame.right + 1
          || box.top < frame.top - 1 || box.bottom > frame.bottom + 1)
        found.push(`outside of the widget: ${node.data.slice(0, 60)}`);
      lines.push({ node, box });
    }
  }
  for (const [i, { node, box }] of lines.entries())
    for (const other of lines.slice(i + 1)) {
      if (other.node === node) continue;
      const across = Math.min(box.right, other.box.right) - Math.max(box.left, other.box.left);
      const down = Math.min(box.bottom, other.box.bottom) - Math.max(box.top, other.box.top);
      if (across > 1 && down > 4)
        found.push(`"${node.data.slice(0, 40)}" lies over "${other.node.data.slice(0, 40)}"`);
    }
  return [...new Set(found)];
}"""
_ELEMENTS = """() => [...document.querySelectorAll("*")].map(element => [
  element.tagName,
  ...[...element.attributes].map(attribute => `${attribute.name}=${attribute.value}`),
  ...(element.tagName === "STYLE" ? [element.textContent] : []),
])"""
_FOCUSABLE = """() => [...document.querySelectorAll(".ppl, .ppl *")]
  .filter(element => element.tabIndex >= 0).map(element => element.outerHTML)"""
#: Runs every rule of axe-core, also level AAA and experimental rules.
_AXE = """() => axe.run(document, {
  resultTypes: ["violations", "incomplete", "passes"],
  rules: Object.fromEntries(axe.getRules().map(rule => [rule.ruleId, { enabled: true }])),
}).then(found => Object.fromEntries(
  ["violations", "incomplete", "passes"].map(kind => [kind, found[kind].map(
    rule => [rule.id, ...rule.nodes.map(node => `${node.target}: ${node.failureSummary || ""}`)]
  )])))"""


def layout_faults(page: Page) -> list[str]:
    """Return a sentence for each text that is unreadable because of its position."""
    faults: list[str] = page.evaluate(_LAYOUT)
    return faults


def elements(page: Page) -> list[list[str]]:
    """Return every element of the page as the browser parsed it, with its attributes."""
    found: list[list[str]] = page.evaluate(_ELEMENTS)
    return found


def focusable(page: Page) -> list[str]:
    """Return the elements of the widget that can have the keyboard focus."""
    found: list[str] = page.evaluate(_FOCUSABLE)
    return found


def axe_findings(page: Page, source: str) -> dict[str, list[list[str]]]:
    """Return the `violations`, the undecided (`incomplete`) and the `passes` of axe-core.

    Each is the name of a rule, followed by the elements of the page.
    """
    page.evaluate(source)
    found: dict[str, Any] = page.evaluate(_AXE)
    return found

"""Each break of ``make break-rules`` applies to the code, so a renamed line shows here first."""

import pytest

from tools.break_rules import BREAKS, LAYER, Break


@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: broken.rule)
def test_a_break_applies_to_the_code_once(broken: Break) -> None:
    source = (LAYER / "target_sync" / broken.file).read_text()

    compile(broken.applied(source), broken.file, "exec")
    assert broken.applied(source) != source

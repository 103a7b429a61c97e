"""Expand a packaged SAM template into plain CloudFormation, for stack sets.

Stack sets with service-managed permissions refuse a template with one (CloudFormation API
reference, CreateStackSet, Capabilities).

    python tools/expand_template.py packaged.yaml stackset.json
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3.session
from samcli.yamlhelper import yaml_parse
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

#: SAM needs a Region for the partition; the result does not contain it.
_REGION = "us-east-1"


def translate(template: Mapping[str, Any]) -> dict[str, Any]:
    """Return the template after the SAM transform.

    Args:
        template: With short function tags in their long form; its code is in S3.
    """
    session = boto3.session.Session(region_name=_REGION)
    translator = Translator(None, Parser(), boto_session=session)
    expanded: dict[str, Any] = translator.translate(dict(template), parameter_values={})
    return expanded


def main() -> None:
    """Expand one file into another."""
    if len(sys.argv) != 3:  # noqa: PLR2004 - the program and two files
        sys.exit("usage: python tools/expand_template.py packaged.yaml stackset.json")
    packaged, plain = map(Path, sys.argv[1:])
    expanded = translate(yaml_parse(packaged.read_text()))
    # Without spaces, because a TemplateBody has at most 51,200 bytes.
    plain.write_text(json.dumps(expanded, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()

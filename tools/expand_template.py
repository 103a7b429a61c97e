"""Expand a packaged SAM template into plain CloudFormation, for what takes no transforms.

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

#: SAM asks for a Region and takes its partition from it; it stands nowhere in the result.
_REGION = "us-east-1"


def translate(template: Mapping[str, Any]) -> dict[str, Any]:
    """The template as CloudFormation gets it after the transform.

    Args:
        template: With short function tags in their long form; its code is in S3.
    """
    session = boto3.session.Session(region_name=_REGION)
    translator = Translator(None, Parser(), boto_session=session)
    expanded: dict[str, Any] = translator.translate(dict(template), parameter_values={})
    return expanded


def main() -> None:
    """Read one file, write the other."""
    if len(sys.argv) != 3:  # noqa: PLR2004 - the program and two files
        sys.exit("usage: python tools/expand_template.py packaged.yaml stackset.json")
    packaged, plain = map(Path, sys.argv[1:])
    expanded = translate(yaml_parse(packaged.read_text()))
    # Without spaces: a template given as text may have 51,200 bytes.
    plain.write_text(json.dumps(expanded, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()

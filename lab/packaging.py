"""Package a built stack as `sam deploy` does, and expand its template.

    python -m lab.packaging .aws-sam/build package/template.json bucket/prefix

The archives lie beside the template, with the keys that `sam deploy` gives them. It is a program,
because the SAM libraries take longer to import than the rest of a scenario.
"""

import json
import shutil
import sys
from pathlib import Path

from samcli.lib.package.utils import make_zip_with_lambda_permissions, zip_folder
from samcli.yamlhelper import yaml_parse

from tools.expand_template import translate


def package(build: Path, expanded: Path, location: str) -> None:
    """Write the expanded template of a build, and the archives of its code, into a new folder.

    Args:
        build: The result of ``sam build``.
        expanded: The path of the template.
        location: The bucket of the archives, and their prefix.
    """
    expanded.parent.mkdir()
    template = yaml_parse((build / "template.yaml").read_text())
    for name, resource in template["Resources"].items():
        resource.setdefault("Metadata", {})["SamResourceId"] = name
        properties = resource.get("Properties", {})
        for key in {"CodeUri", "ContentUri"} & properties.keys():
            code = build / properties[key]
            with zip_folder(code, make_zip_with_lambda_permissions) as (archive, digest):
                shutil.copy(archive, expanded.with_name(digest))
            properties[key] = f"s3://{location}/{digest}"
    expanded.write_text(json.dumps(translate(template)))


if __name__ == "__main__":
    package(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])

"""docs/upgrading.md names the runtime, and no update replaces the endpoint service."""

import pytest

from tests.template.pages import read, sections
from tools.template_tables import RESOURCES, of_type, replacing_properties


@pytest.mark.parametrize("name", ["EndpointService", "EndpointServicePermissions", "LoadBalancer"])
def test_no_update_replaces_the_endpoint_service(name: str) -> None:
    assert RESOURCES[name]["Properties"]
    assert not replacing_properties(name)


def test_the_page_names_the_runtime_of_the_functions() -> None:
    functions = of_type("AWS::Lambda::Function").values()
    (runtime,) = {function["Properties"]["Runtime"] for function in functions}
    assert f"`{runtime}`" in sections(read("docs/upgrading.md"), 2)["The runtime"]

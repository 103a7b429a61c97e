"""A handler that wraps another one, and reports the allocated memory blocks on request.

It runs in the process of the function, with only this folder of the benchmark on the import path.
"""

import gc
import importlib
import os
import sys

#: The event that requests the number of blocks.
COUNT_EVENT = {"counted": "blocks"}

# A module that changes constants before the import of the handler.
if "COUNTED_FIRST" in os.environ:
    importlib.import_module(os.environ["COUNTED_FIRST"])
_module, _, _name = os.environ["COUNTED_HANDLER"].rpartition(".")
_handler = getattr(importlib.import_module(_module), _name)


def handler(event: object, context: object) -> object:
    """Return the number of memory blocks on request; pass every other event on."""
    if event != COUNT_EVENT:
        return _handler(event, context)
    gc.collect()
    # Python caches the last 4,096 attribute names of classes. botocore creates new names in every
    # call, so the cache alone grows over a thousand runs.
    _clear_name_cache()
    # This counts every object; the list of the garbage collector leaves out strings.
    return sys.getallocatedblocks()


def _clear_name_cache() -> None:
    if sys.version_info >= (3, 13):
        sys._clear_internal_caches()  # noqa: SLF001 - there is no other way
    else:
        sys._clear_type_cache()  # noqa: SLF001 - the same

"""A door before a handler: whoever asks it learns how much Python has allocated.

It runs in the function's process, with this folder on the import path and no other of the bench.
"""

import gc
import importlib
import os
import sys

#: The event that asks.
QUESTION = {"counted": "blocks"}

# What is to be changed before the handler is imported.
if "COUNTED_FIRST" in os.environ:
    importlib.import_module(os.environ["COUNTED_FIRST"])
_module, _, _name = os.environ["COUNTED_HANDLER"].rpartition(".")
_handler = getattr(importlib.import_module(_module), _name)


def handler(event: object, context: object) -> object:
    """Answer the question, and hand on everything else."""
    if event != QUESTION:
        return _handler(event, context)
    gc.collect()
    # Python remembers the last 4,096 names that were looked up in classes. botocore makes such
    # names anew at every call, so this alone grows for a thousand runs.
    _forget_names()
    # Of every object, a string in a list too, which the collector's own list would leave out.
    return sys.getallocatedblocks()


def _forget_names() -> None:
    if sys.version_info >= (3, 13):
        sys._clear_internal_caches()  # noqa: SLF001 - there is no other way
    else:
        sys._clear_type_cache()  # noqa: SLF001 - the same

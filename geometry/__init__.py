"""Arrays in, arrays out: everything about shape, pose, crop, UV layout and position maps. No files, no network."""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    """`prnet.geometry.crop` is there after `import prnet` alone."""
    try:
        return import_module(f"prnet.geometry.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"prnet.geometry.{name}":
            raise
        raise AttributeError(f"module 'prnet.geometry' has no attribute {name!r}") from None

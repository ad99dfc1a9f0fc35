"""The page without a server: a folder that any file host serves, where the network runs in the visitor's browser."""

import shutil
from pathlib import Path
from typing import Any

from prnet.common.errors import UserError
from prnet.exporting.export import atomic_folder
from prnet.exporting.web import web_files
from prnet.geometry.uv_layout import UVLayout
from prnet.serving.pages import STATIC, in_browser

LEFT_OUT = ("docs", "runs", "server_engine")
"""Stems of the files that only a server's pages need."""


def write_site(network: Any, layout: UVLayout, folder: str | Path) -> Path:
    """Write `index.html`, what it loads, and the network in `live/`. Returns the folder.

    Raises `UserError` if the folder exists.
    """
    folder = Path(folder)
    if folder.exists():
        raise UserError(f"{folder}: exists; remove it or choose another folder")
    with atomic_folder(folder) as whole:
        shutil.copytree(STATIC, whole / "static", ignore=_left_out)
        (whole / "index.html").write_text(in_browser((STATIC / "index.html").read_text("utf-8")), "utf-8")
        (whole / "live").mkdir()
        for name, content in web_files(network, layout).items():
            (whole / "live" / name).write_bytes(content)
    return folder


def _left_out(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if Path(name).stem in LEFT_OUT or name.endswith(".html")]

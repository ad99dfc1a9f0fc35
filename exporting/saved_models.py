"""Networks of other projects in TensorFlow's SavedModel form, made ready for this one."""

import math
import shutil
from pathlib import Path

from prnet.common.errors import UserError
from prnet.configure.config import TARGET_SCALE
from prnet.exporting.export import atomic_folder
from prnet.exporting.prnet_checkpoint import read_prnet_layout
from prnet.formats.layout_file import layout_bytes
from prnet.model.runtimes import SAVED_GRAPH, SAVED_LAYOUT, SAVED_SCALE, open_saved_model


def adopt_saved_model(folder: str | Path, uv_data: str | Path, output: str | Path, scale: float = TARGET_SCALE) -> Path:
    """Copy a SavedModel whose maps have PRNet's UV layout, with that layout in it: `FaceReconstructor` opens the copy.

    folder : with `saved_model.pb`. uv_data : PRNet's folder `uv-data`. output : a folder that does not exist yet.
    scale : what the network's maps were divided by, over the crop's side. Raises `UserError`.
    """
    folder, output = Path(folder), Path(output)
    if not 0 < scale < math.inf:
        raise UserError(f"`target_scale` {scale}: must be above 0; PRNet's is {TARGET_SCALE}")
    if not (folder / SAVED_GRAPH).is_file():
        raise UserError(f"{folder}: holds no {SAVED_GRAPH}; give the folder of a SavedModel")
    if output.exists():
        raise UserError(f"{output}: exists; remove it or choose another folder")
    layout = layout_bytes(read_prnet_layout(uv_data))
    with atomic_folder(output) as temporary:
        shutil.copytree(folder, temporary)
        (temporary / SAVED_LAYOUT).parent.mkdir(exist_ok=True)
        (temporary / SAVED_LAYOUT).write_bytes(layout)
        (temporary / SAVED_SCALE).write_text(f"{scale}\n", encoding="ascii")
        open_saved_model(temporary)
    return output

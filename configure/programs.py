"""The programs, and the command that runs each, in a checkout and once installed, for messages to quote."""

from pathlib import Path

from prnet.configure.config import CHECKOUT

PROGRAMS = {
    "reconstruct": "reconstruct_face",
    "reconstruct-many": "reconstruct_many",
    "swap-faces": "swap_faces",
    "serve": "serve_model",
    "train": "train_model",
    "evaluate": "evaluate_model",
    "evaluate-scans": "evaluate_scans",
    "build-dataset": "build_dataset",
    "build-face-model": "build_face_model",
    "fit-photos": "fit_photos",
    "make-profile-views": "make_profile_views",
    "make-sample-data": "make_sample_data",
    "export": "export_model",
}
"""Subcommands of `prnet`, in the order that its help lists them, each with its module in `prnet/commands/`, which is
also the name of its script in a checkout."""


def command(name: str) -> str:
    """What to type for a subcommand: `prnet NAME` where it is installed, else its script, by path from elsewhere."""
    if CHECKOUT is None:
        return f"prnet {name}"
    script = CHECKOUT / f"{PROGRAMS[name]}.py"
    return script.name if Path.cwd() == CHECKOUT else str(script)

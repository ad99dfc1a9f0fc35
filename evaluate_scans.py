"""Measure predicted meshes against scans, in millimetres."""

from prnet.commands.evaluate_scans import main
from prnet.commands.terminal import run_script

if __name__ == "__main__":
    run_script(main)

"""Make sample data: a procedural face model, and rendered faces in the layout of 300W-LP and AFLW2000-3D."""

from prnet.commands.make_sample_data import main
from prnet.commands.terminal import run_script

if __name__ == "__main__":
    run_script(main)

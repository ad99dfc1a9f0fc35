"""Pack 300W-LP or AFLW2000-3D, zip archives or extracted folders, into train.hdf5 or val.hdf5."""

from prnet.commands.build_dataset import main
from prnet.commands.terminal import run_script

if __name__ == "__main__":
    run_script(main)

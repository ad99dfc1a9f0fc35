"""Train a network on train.hdf5: best.keras and last.keras, log and curves; the same command resumes it."""

from prnet.commands.terminal import run_script
from prnet.commands.train_model import main

if __name__ == "__main__":
    run_script(main)

"""Fit the face model to photos with landmarks: training labels for photos of your own."""

from prnet.commands.fit_photos import main
from prnet.commands.terminal import run_script

if __name__ == "__main__":
    run_script(main)

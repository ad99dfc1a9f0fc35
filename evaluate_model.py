"""Measure a network, or any method's predictions, and write tables, curves and pictures that name their protocol."""

from prnet.commands.evaluate_model import main
from prnet.commands.terminal import run_script

if __name__ == "__main__":
    run_script(main)

"""Networks to hand on: small .keras files, SavedModel, LiteRT, ONNX; and PRNet's published weights as a .keras file."""

from prnet.commands.export_model import main
from prnet.commands.terminal import run_script

if __name__ == "__main__":
    run_script(main)

"""Serve a network over HTTP: photos in, faces out, with a page for people and an API for programs."""

from prnet.commands.serve_model import main
from prnet.commands.terminal import run_script

if __name__ == "__main__":
    run_script(main)

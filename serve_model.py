"""Serve a network over HTTP: photos in, faces out, with a page for people and an API for programs."""

from prnet.commands.running import run_script
from prnet.commands.serve_model import main

if __name__ == "__main__":
    run_script(main)

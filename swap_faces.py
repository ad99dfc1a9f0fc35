"""Features of one face on another, in a photo or a video."""

from prnet.commands.swap_faces import main
from prnet.commands.terminal import run_script

if __name__ == "__main__":
    run_script(main)

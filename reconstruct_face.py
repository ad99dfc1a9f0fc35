"""Photos, folders of photos and videos to faces: landmarks, pose, mesh, maps and pictures."""

from prnet.commands.reconstruct_face import main
from prnet.commands.terminal import run_script

if __name__ == "__main__":
    run_script(main)

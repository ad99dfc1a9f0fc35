"""Turn photos with fits into views rotated in depth, in 300W-LP's format."""

from prnet.commands.make_profile_views import main
from prnet.commands.terminal import run_script

if __name__ == "__main__":
    run_script(main)

"""The faces of very many photos as Parquet shards, on one core, on several, or on a Ray cluster."""

from prnet.commands.reconstruct_many import main
from prnet.commands.terminal import run_script

if __name__ == "__main__":
    run_script(main)

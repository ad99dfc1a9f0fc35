"""`python -m prnet` is the command `prnet`."""

from prnet.commands.run import run

if __name__ == "__main__":
    run()

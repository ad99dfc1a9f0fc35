"""The command `prnet`: one subcommand for each program."""

import argparse
import importlib
import sys

import prnet
from prnet.commands.terminal import run_script
from prnet.common.errors import UserError
from prnet.configure.programs import PROGRAMS

EXTRAS = {
    **dict.fromkeys(("fastapi", "uvicorn", "starlette", "multipart", "python_multipart"), "server"),
    **dict.fromkeys(("tf2onnx", "onnx", "onnxruntime"), "export"),
    **dict.fromkeys(("ray", "pyarrow"), "scale"),
}
"""Modules that come with an extra of the package."""


def run() -> None:
    """The entry point of the command `prnet`."""
    run_script(main)


def main(argv=None) -> int | None:
    """Run one subcommand. Returns its exit status."""
    arguments = make_parser().parse_args(argv)
    sys.argv[0] = f"prnet {arguments.command}"  # what help and usage errors call the program
    try:
        return _module(arguments.command).main(arguments.arguments)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        raise UserError(
            f"prnet {arguments.command}: needs {error.name}; install it by pip install 'prnet[{extra}]'"
        ) from None


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="prnet",
        description=prnet.__doc__,
        epilog=_overview(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"prnet {prnet.__version__}")
    parser.add_argument("command", choices=PROGRAMS, metavar="COMMAND", help="one of those below")
    parser.add_argument(
        "arguments", nargs=argparse.REMAINDER, metavar="...", help="its flags; COMMAND --help lists them"
    )
    return parser


def _overview() -> str:
    summaries = [f"  {name:<20}{_module(name).__doc__.partition(chr(10))[0]}" for name in PROGRAMS]
    return "\n".join(["commands:", *summaries])


def _module(name: str):
    return importlib.import_module(f"prnet.commands.{PROGRAMS[name]}")

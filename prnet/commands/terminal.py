"""What a program shows on the terminal: its errors in one line and in its own flags, its log, its exit status."""

import io
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prnet.common.errors import UserError, in_one_line

FLAGS = {
    "allowed_hosts": "--allow-host",
    "allowed_origins": "--allow-origin",
    "batch_size": "--batch-size",
    "box": "--bbox",
    "camera": "--camera",
    "data_mode": "--data-mode",
    "decoder": "--decoder",
    "detector": "--detector",
    "target_scale": "--target-scale",
    "devices": "--devices",
    "end": "--end",
    "epochs": "--epochs",
    "expressions": "--expressions",
    "face_model": "--face-model",
    "flips": "--no-flips",
    "format": "--format",
    "head": "--head",
    "schedule": "--schedule",
    "warmup": "--warmup",
    "host": "--host",
    "image_list": "--image-list",
    "image_size": "--image-size",
    "images": "--images",
    "morph": "--morph",
    "landmarks": "--landmarks",
    "identities": "--identities",
    "learn_texture": "--learn-texture",
    "learning_rate": "--learning-rate",
    "machines": "--machines",
    "model": "--model",
    "network": "--network",
    "output": "--output",
    "output_folder": "--output-dir",
    "overwrite": "--overwrite",
    "port": "--port",
    "precision": "--precision",
    "process": "--process",
    "processes": "--processes",
    "protocol": "--protocol",
    "quantize": "--quantize",
    "runs": "--runs",
    "runtime": "--runtime",
    "server": "--server-log",
    "start": "--start",
    "texture_size": "--texture",
    "rendering": "--rendering",
    "saved_model": "--saved-model",
    "scores": "--scores",
    "skin": "--skin",
    "types": "--types",
    "unit": "--unit",
    "units": "--units",
    "uv": "--uv",
    "uv_data": "--uv-data",
    "with_vertices": "--with-vertices",
}
"""The flag of each setting that a message of the library names, in back quotes, as Python calls it: `batch_size`."""


def run_script(main: Callable[[], int | None]) -> None:
    """Run a script's `main()` and exit with the status it returns (None is 0).

    A `UserError` or an error of the operating system is printed as one line and exits with status 2; an interrupt
    from the keyboard exits with 130. TensorFlow's remarks on its own build are kept from the terminal.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    _open_streams()
    with log_on_terminal():
        try:
            sys.exit(main())
        except (UserError, OSError) as error:
            print(f"error: {in_flags(in_one_line(error))}", file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(130)


def _open_streams() -> None:
    """Make printing safe: of any name, and where the standard streams are closed (`2>&-`).

    Else a data file would be opened under the closed one's number, and take TensorFlow's messages.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    sys.stdout, sys.stderr = (stream or open(os.devnull, "w") for stream in (sys.stdout, sys.stderr))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def in_flags(message: str) -> str:
    """A message of the library as its programs say it: "lower `batch_size`" becomes "lower --batch-size"."""
    return re.sub(r"`(\w+)`", lambda name: FLAGS.get(name[1], name[0]), message)


@contextmanager
def log_on_terminal(least: int = logging.INFO) -> Iterator[None]:
    """Show what the library logs: information on standard output, and after its level what is worse on the error."""
    logger, handler = logging.getLogger("prnet"), _TerminalHandler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(least)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _TerminalHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        line = in_flags(record.getMessage())
        if record.levelno < logging.WARNING:
            try:
                print(line, flush=True)
            except OSError:  # `| head -1`: what reads it has ended, the work has not
                sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        else:
            print(f"{record.levelname.lower()}: {line}", file=sys.stderr, flush=True)

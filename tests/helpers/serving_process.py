"""`serve_model.py` as a process of its own."""

import re
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from prnet.serving.server import SHUTDOWN_SECONDS

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def started(*arguments):
    """The address of `serve_model.py`, which is ended by a signal afterwards."""
    with running(*arguments) as (process, address):
        yield address
        process.send_signal(signal.SIGTERM)


@contextmanager
def running(*arguments):
    """A process of `serve_model.py`, which whoever uses it must end, and its address."""
    command = [sys.executable, "serve_model.py", "--runs", "", *arguments, "--port", "0"]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            said = process.stdout.readline() + process.stdout.readline()
            address = re.search(r"ready: (http://127\.0\.0\.1:\d+)", said)
            assert address, said + last_words(log)
            assert "network loaded in" in said
            yield process, address[1]
            process.wait(SHUTDOWN_SECONDS + 30)
            assert "Traceback" not in (words := last_words(log)), words
        finally:
            process.kill()
            process.communicate()


def last_words(log) -> str:
    log.seek(0)
    return log.read()[-5000:]

"""How processes of the tests end."""

import subprocess


def wait_or_kill(process: subprocess.Popen, seconds: float) -> None:
    """Until a process that was told to end has ended; one that has not after so many seconds is killed."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

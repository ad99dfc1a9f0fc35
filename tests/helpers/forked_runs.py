"""A process that has loaded what a script needs and forks a run of it on demand: runs that are cheap to kill.

`python -m tests.helpers.forked_runs CODE` executes CODE, which defines `main(argv)`, and runs it for each line of
standard input, a JSON list of arguments, in a process of its own. It answers with that one's number and, in the end,
its exit status.
"""

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

from tests.helpers.processes import wait_or_kill


class ForkedRuns:
    """Runs of `main`, which `code` defines, one after the other. Use it as a context manager.

    Standard output and error of the runs go to `log`, a path.
    """

    def __init__(self, code: str, log: Path):
        self._log = log
        with log.open("wb") as errors:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "tests.helpers.forked_runs", code],
                cwd=Path(__file__).parents[2],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def __enter__(self) -> "ForkedRuns":
        return self

    def __exit__(self, *_) -> None:
        self._server.stdin.close()
        wait_or_kill(self._server, 60)
        self._server.stdout.close()

    def start(self, arguments: list) -> int:
        """Begin a run; its process number."""
        self._server.stdin.write(json.dumps([str(argument) for argument in arguments]) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def run(self, arguments: list, seconds: float | None = None) -> int:
        """Exit status of a run; one that still runs after `seconds` is killed, and the status is -9."""
        number = self.start(arguments)
        if not select.select([self._server.stdout], [], [], seconds)[0]:
            os.kill(number, signal.SIGKILL)
        return self.ended()

    def ended(self) -> int:
        """Exit status of the run that was begun, once it has ended."""
        return int(self._server.stdout.readline())

    def printed(self) -> str:
        """What all runs printed."""
        return self._log.read_text(errors="replace")


def main(code: str) -> None:
    from prnet.commands.terminal import run_script

    defined = {}
    exec(code, defined)
    for line in sys.stdin:
        number = os.fork()
        if number == 0:
            os.dup2(2, 1)
            run_script(lambda arguments=line: defined["main"](json.loads(arguments)))
        print(number, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])

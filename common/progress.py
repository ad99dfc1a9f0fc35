"""Progress posted to a server as JSON. A server that does not answer costs one warning line and nothing else."""

import json
import sys
import urllib.request
from http.client import HTTPException

from prnet.common.errors import UserError

TIMEOUT = 1.0
"""Seconds that a post may take."""


def server_address(choice: str, own_server: str) -> str | None:
    """What `--serverlog` means: 0 is off, 1 the project's own server, else an http address."""
    if choice == "0":
        return None
    if choice == "1":
        return own_server
    if choice.startswith(("http://", "https://")):
        return choice.rstrip("/")
    raise UserError(f"--serverlog {choice}: not 0, 1 or an address; give one such as {own_server}")


class Poster:
    """Posts records to one server; after the first failure it says so once and keeps trying."""

    def __init__(self, address: str | None):
        self.address = address
        self.warned = False

    def post(self, path: str, record: dict) -> None:
        """Post `record` as JSON to `path` (it begins with /); without an address nothing happens."""
        if self.address is None:
            return
        request = urllib.request.Request(
            self.address + path, json.dumps(record).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT):
                pass
        except (OSError, HTTPException, ValueError) as error:
            if not self.warned:
                print(
                    f"warning: {self.address} does not take the log ({error}); continuing without it", file=sys.stderr
                )
            self.warned = True

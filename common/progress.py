"""Progress posted to a server as JSON. A server that does not answer costs one warning line and nothing else."""

import json
import logging
import re
import urllib.request
from contextlib import suppress
from threading import Thread
from urllib.parse import urlsplit

from prnet.common.errors import UserError, printable

logger = logging.getLogger(__name__)

TIMEOUT = 1.0
"""Seconds that a post may hold its caller up, from the look-up of the name to the last byte of the answer."""


def server_address(choice: str, own_server: str) -> str | None:
    """What a choice of server means: 0 is off, 1 the project's own server, else an http address."""
    if choice == "0":
        return None
    return checked_address(own_server if choice == "1" else choice, own_server)


def checked_address(address: str, example: str = "http://127.0.0.1:20000") -> str:
    """An http address to put paths behind. Raises UserError, which keeps user names and passwords to itself."""
    public = printable(address.rpartition("@")[2].partition("?")[0])
    try:
        parts = urlsplit(address)
        host = (parts.hostname or "").encode("idna")
        plain = address.isascii() and address.isprintable() and " " not in address and "\\" not in address
        whole = "[" not in parts.netloc or re.fullmatch(r"\[[^][]*](:\d*)?", parts.netloc)  # Python's versions differ
        usable = plain and host and whole and parts.scheme in ("http", "https")
        usable = usable and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if "@" in address:
        raise UserError(f"`server` {public}: user names and passwords are not taken; leave out what precedes the @")
    if not usable or "?" in address or "#" in address:
        raise UserError(f"`server` {public}: not 0, 1 or an address; give one such as {example}")
    return address.rstrip("/")


class Poster:
    """Posts records to one server; after the first failure it says so once and keeps trying.

    A record is dropped while the server still holds up the one before.
    """

    def __init__(self, address: str | None):
        self.address = address and checked_address(address)
        self.warned = False
        self._sender: Thread | None = None

    def post(self, path: str, record: dict) -> None:
        """Post `record` as JSON to `path` (it begins with /); without an address nothing happens."""
        if self.address is None or (self._sender and self._sender.is_alive()):
            return
        problems: list[Exception | str] = []
        sender = Thread(target=self._send, args=(self.address + path, record, problems), daemon=True)
        self._sender = sender
        sender.start()
        sender.join(TIMEOUT)
        if sender.is_alive():
            problems.append(f"no answer within {TIMEOUT:g} s")
        if problems and not self.warned:
            warning = printable(f"{self.address} does not take the log ({problems[0]}); continuing without it")
            with suppress(OSError):
                logger.warning(warning)
            self.warned = True

    def _send(self, url: str, record: dict, problems: list[Exception | str]) -> None:
        try:
            request = urllib.request.Request(url, json.dumps(record).encode(), {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=TIMEOUT):
                pass
        except Exception as error:  # whatever goes wrong here, the run continues
            problems.append(error)

"""From the settings of a server to a process that listens."""

import asyncio
import ipaddress
import logging
import signal
import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import cast

import uvicorn
from fastapi import FastAPI

from prnet.common.errors import UserError
from prnet.configure.config import FACE_MODEL_PATH, RUNS_PATH, RUNTIMES, SERVER_HOST, SERVER_PORT
from prnet.formats.face_model_file import load_face_model
from prnet.geometry.face_model import FaceModel
from prnet.geometry.position_map import layout_of_model
from prnet.reconstructing.reconstructor import FaceReconstructor
from prnet.reconstructing.settings import DETECTORS, MODEL_PATH
from prnet.serving.application import build_application
from prnet.serving.connections import Connection
from prnet.serving.engine import warm_up
from prnet.serving.limits import Limits
from prnet.serving.origins import is_address, is_host, is_origin

logger = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 30
"""How long a stop waits for the requests that were taken."""

HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Embedder-Policy", "require-corp"),
]
"""Of every answer. The last two isolate the page, without which browsers give WebAssembly one thread only."""


@dataclass(frozen=True)
class Serving:
    """Settings of one server."""

    model: str = MODEL_PATH
    host: str = SERVER_HOST
    port: int = SERVER_PORT  # 0 takes a free one
    face_model: str = FACE_MODEL_PATH
    detector: str = DETECTORS[0]
    runtime: str = RUNTIMES[0]
    mirrored: bool = False
    surface_filter: bool = True
    batch_size: int = 8
    allowed_hosts: tuple[str, ...] = ()  # names that it answers to, beside those of `own_names`
    allowed_origins: tuple[str, ...] = ()  # other sites whose pages may use it, such as https://example.org
    runs: str = RUNS_PATH  # the file that keeps runs over a restart; "" keeps none


def serve(settings: Serving) -> None:
    """Listen until interrupted. Raises `UserError` for an address or a file that cannot be used."""
    for origin in settings.allowed_origins:
        if not is_origin(origin):
            raise UserError(f"`allowed_origins` {origin}: no origin; give it as https://example.org, without a path")
    for name in settings.allowed_hosts:
        if not is_host(name):
            raise UserError(f"`allowed_hosts` {name}: no host's name; give it as example.org, without scheme and port")
    if settings.batch_size < 1:
        raise UserError(f"`batch_size` {settings.batch_size}: must be at least 1")
    with _listen(settings.host, settings.port) as listener:
        start = time.monotonic()
        reconstructor = FaceReconstructor(
            settings.model,
            settings.detector,
            mirrored=settings.mirrored,
            surface_filter=settings.surface_filter,
            runtime=settings.runtime,
        )
        face_model, missing = _face_model(settings.face_model, reconstructor)
        warm_up(reconstructor, settings.batch_size)
        if missing:
            logger.warning(f"fits are refused: {missing}")
        app = build_application(
            reconstructor,
            face_model=face_model,
            missing=missing,
            batch_size=settings.batch_size,
            hosts=[*own_names(settings.host), *settings.allowed_hosts],
            pages=settings.allowed_origins,
            runs=settings.runs,
        )
        address, port = listener.getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        logger.info(f"network loaded in {time.monotonic() - start:.1f} s: {settings.model}")
        logger.info(f"ready: http://{shown}:{port}")
        server = http_server(app)
        with _ended_by_hangup(server):
            server.run(sockets=[listener])


def own_names(host: str) -> list[str]:
    """Names that a server which listens at `host` answers to: that one, and the machine's own if others reach it."""
    if host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback):
        return []
    machine = socket.gethostname()
    return [host, machine, f"{machine}.local"]


def http_server(app: FastAPI, limits: Limits | None = None) -> uvicorn.Server:
    """What serves an application to untrusted clients, within limits. Its log holds failures of the server only: errors
    of clients would fill it."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=cast(type[asyncio.Protocol], partial(Connection, limits=limits or Limits())),
            ws="none",
            headers=HEADERS,
            log_level="error",
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
    )


@contextmanager
def _ended_by_hangup(server: uvicorn.Server):
    """Let a closed terminal end the server as SIGTERM does, which uvicorn knows, unless SIGHUP is ignored."""
    hangup: signal.Signals | None = getattr(signal, "SIGHUP", None)
    before = None if hangup is None else signal.getsignal(hangup)
    if hangup is None or before in (None, signal.SIG_IGN):
        yield
        return
    signal.signal(hangup, server.handle_exit)
    try:
        yield
    finally:
        signal.signal(hangup, before)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=Limits.connections)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{host}:{port}: cannot listen there: {reason}; give another `host` or `port`") from None


def _face_model(path: str, reconstructor: FaceReconstructor) -> tuple[FaceModel | None, str]:
    """The face model and "", or None and why requests that need it are refused."""
    try:
        model = load_face_model(path)
    except UserError as error:
        return None, str(error)
    if layout_of_model(model).identity != reconstructor.layout.identity:
        return None, f"{path}: its UV layout is not the network's; start the server with the one it was trained with"
    return model, ""

"""The pages and what they load, with the policies that keep everything else away from them."""

import asyncio
import base64
import hashlib
import logging
import re
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel

from prnet.common.errors import UserError
from prnet.exporting.web import DETECTOR_SIDES, FACE, MESH, NETWORK, web_files
from prnet.reconstructing.reconstructor import FaceReconstructor
from prnet.serving.engine import Engine
from prnet.serving.problems import Problem

logger = logging.getLogger("uvicorn.error")

STATIC = Path(__file__).parent / "static"

SCRIPT_POLICY = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self' blob:"
"""Of everything under /static: a worker has the policy that its own script came with."""


class Greeting(BaseModel):
    message: str


class Scripts(StaticFiles):
    def file_response(self, *arguments, **options) -> Response:
        response = super().file_response(*arguments, **options)
        response.headers["Content-Security-Policy"] = SCRIPT_POLICY
        return response


def add_pages(app: FastAPI) -> None:
    """`/` is the page for browsers, and for other clients PRNet-keras' greeting."""
    app.mount("/static", Scripts(directory=STATIC), name="static")
    policies = {path.name: content_policy(path.read_text("utf-8")) for path in STATIC.glob("*.html")}

    def page(name: str) -> FileResponse:
        return FileResponse(STATIC / name, headers={"Content-Security-Policy": policies[name], "Vary": "Accept"})

    @app.get(
        "/",
        tags=["server"],
        summary="The page, or a greeting for programs",
        response_model=Greeting,
        openapi_extra={"x-examples": {"curl": "curl {address}/"}},
    )
    async def index(request: Request):
        if "text/html" in request.headers.get("accept", ""):
            return page("index.html")
        return Greeting(message="PRNet: the API is described at /docs")

    @app.get("/runs", include_in_schema=False)
    async def runs():
        return page("runs.html")

    @app.get("/docs", include_in_schema=False)
    async def docs():
        return page("docs.html")


def content_policy(html: str, framed: str = "frame-ancestors 'none'") -> str:
    """A Content-Security-Policy that lets a page load what lies on its own server, run WebAssembly and its own inline
    import map; no other page may show it in a frame."""
    inline = re.findall(r'<script type="importmap">(.*?)</script>', html, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in inline]
    scripts = " ".join(["'self'", "'wasm-unsafe-eval'", *(f"'sha256-{digest}'" for digest in hashes)])
    return (
        f"default-src 'self'; script-src {scripts}; img-src 'self' blob: data:; connect-src 'self' blob:; "
        f"object-src 'none'; base-uri 'none'; form-action 'none'; {framed}"
    ).rstrip("; ")


def in_browser(html: str) -> str:
    """The page as it works without a server: the network runs in it, and the policy stands in its head, where a
    browser takes all of it but the line on frames."""
    policy = f'<meta http-equiv="Content-Security-Policy" content="{content_policy(html, "")}">'
    marked = html.replace('data-engine="server"', 'data-engine="browser"')
    return marked.replace('<meta charset="utf-8">', f'<meta charset="utf-8">\n  {policy}')


class LiveFiles:
    """What live mode loads, made from the server's network when it is first asked for."""

    def __init__(self, reconstructor: FaceReconstructor, engine: Engine):
        self._reconstructor, self._engine = reconstructor, engine
        self._making = asyncio.Lock()
        self._files: dict[str, bytes] = {}
        self._failure = ""

    async def read(self, name: str) -> bytes:
        """Raises `Problem` 501 where the files cannot be made, which is tried once."""
        async with self._making:
            if not self._files and not self._failure:
                await self._make()
        if self._failure:
            raise Problem(501, self._failure)
        return self._files[name]

    async def _make(self) -> None:
        try:
            network, layout = self._reconstructor.network, self._reconstructor.layout
            self._files = await self._engine.run(web_files, network, layout)
        except UserError as error:
            self._failure = str(error)
        except Exception as error:  # the exporters of Keras and tf2onnx raise exceptions of many kinds
            logger.error("the network could not be made ready for browsers", exc_info=error)
            self._failure = "this network could not be made ready for browsers; the server's log says why"


def live_router(files: LiveFiles) -> APIRouter:
    router = APIRouter(prefix="/live", include_in_schema=False)

    @router.get("/{name}")
    async def live(name: str):
        if name not in (NETWORK, FACE, MESH, *DETECTOR_SIDES):
            raise Problem(404, "no such file")
        kind = "application/json" if name in (FACE, MESH) else "application/octet-stream"
        return Response(await files.read(name), media_type=kind, headers={"Cache-Control": "no-cache"})

    return router

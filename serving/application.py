"""The HTTP application: pages for people, two APIs for programs, all behind the gate of `prnet.serving.guard`."""

from collections.abc import Iterable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from pydantic import BaseModel

from prnet.geometry.face_model import FaceModel
from prnet.reconstructing.reconstructor import FaceReconstructor
from prnet.serving.engine import Engine
from prnet.serving.fits import FitMeshes
from prnet.serving.guard import Guard
from prnet.serving.limits import Limits
from prnet.serving.origins import Origins
from prnet.serving.pages import LiveFiles, add_pages, live_router
from prnet.serving.prnet_keras import prnet_keras_router
from prnet.serving.problems import answer_problems
from prnet.serving.reconstructions import reconstructions_router
from prnet.serving.results import ResultStore
from prnet.serving.runs import RunLog, runs_router

DESCRIPTION = """From one photo of a face to its 3D shape, 68 landmarks and pose.

Errors are problem details in JSON (RFC 9457). 503 and 429 carry Retry-After."""


class Health(BaseModel):
    status: str
    image_size: int
    face_model: bool
    crops: int  # that went through the network so far
    waiting: int  # crops that it has not taken yet


def build_application(
    reconstructor: FaceReconstructor,
    *,
    face_model: FaceModel | None = None,
    missing: str = "the server has no face model, which fits need; start it with a `face_model`",
    batch_size: int = 8,
    limits: Limits | None = None,
    hosts: Iterable[str] = (),
    pages: Iterable[str] = (),
    runs: str = "",
) -> FastAPI:
    """The application around one network.

    missing : what requests that need a face model hear where there is none. hosts : names that the server answers to,
    beside localhost and addresses. pages : origins of other sites whose pages may use it. runs : the file that keeps
    runs over a restart, if any.
    """
    limits = limits or Limits()
    engine, log = Engine(reconstructor, batch_size, limits), RunLog(limits, runs)

    @asynccontextmanager
    async def lifespan(_: FastAPI):
        async with engine, log:
            yield

    app = FastAPI(title="PRNet", description=DESCRIPTION, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_middleware(Guard, limits=limits, origins=Origins(hosts, pages))
    answer_problems(app)
    app.include_router(reconstructions_router(engine, ResultStore(limits)))
    app.include_router(prnet_keras_router(engine, FitMeshes(face_model, reconstructor.grid, missing)))
    app.include_router(runs_router(log, limits))
    app.include_router(live_router(LiveFiles(reconstructor, engine)))
    add_pages(app)

    @app.get(
        "/health",
        tags=["server"],
        summary="Whether the network is loaded",
        openapi_extra={"x-examples": {"curl": "curl {address}/health"}},
    )
    async def health() -> Health:
        return Health(
            status="ready",
            image_size=reconstructor.image_size,
            face_model=face_model is not None,
            crops=engine.batcher.crops,
            waiting=engine.batcher.waiting,
        )

    return app

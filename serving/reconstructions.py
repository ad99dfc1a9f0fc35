"""The API for new programs: one photo in; landmarks, pose and links out, or a file of its first face."""

import json
import tempfile
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, File, Form, Header, Query, Request, Response, UploadFile
from pydantic import BaseModel, Field

from prnet.configure.config import CROP_MARGIN, LANDMARK_COUNT
from prnet.geometry.crop import Box, landmark_box
from prnet.reconstructing.detection import box_of_rectangle
from prnet.reconstructing.face import Face
from prnet.reconstructing.mesh_files import face_mesh, mat_bytes, write_mesh
from prnet.serving.engine import Engine
from prnet.serving.problems import Problem, ProblemBody
from prnet.serving.results import Result, ResultStore
from prnet.serving.uploads import read_photo

Format = Literal["json", "glb", "obj", "ply", "mat"]

MEDIA_TYPES = {
    "json": "application/json",
    "glb": "model/gltf-binary",
    "obj": "application/zip",
    "ply": "application/x-ply",
    "mat": "application/x-matlab-data",
}
"""An OBJ comes with its material and texture, zipped."""

ACCEPTED = {media_type: form for form, media_type in MEDIA_TYPES.items()} | {"model/obj": "obj"}

REFUSALS = {status: {"model": ProblemBody} for status in (400, 413, 415, 422, 429, 503)}


class ImageSize(BaseModel):
    width: int
    height: int


class Square(BaseModel):
    centre: tuple[float, float] = Field(description="x, y in pixels of the photo, which is turned upright by its EXIF")
    side: float = Field(description="pixels")


class PoseAnswer(BaseModel):
    yaw: float = Field(description="degrees, in 300W-LP's convention, as pitch and roll")
    pitch: float
    roll: float
    matrix: list[list[float]] = Field(description="3 x 4, canonical face to pixels of the photo")


class FaceAnswer(BaseModel):
    box: Square = Field(description="around the 68 landmarks")
    crop: Square = Field(description="what the network saw")
    landmarks: list[tuple[float, float, float]] = Field(
        description="68, iBUG order: x right, y down, z towards the camera, in pixels of the photo"
    )
    pose: PoseAnswer
    expressions: dict[str, float] | None = Field(
        description="by name, ARKit's between 0 and 1, left and right being the person's; null if the network has none"
    )
    scores: dict[str, float] | None = Field(
        description="what the network saw that the mesh does not show, gaze, 0 to 1; null if the network has none"
    )
    identity: list[float] | None = Field(
        description="in standard deviations of the network's training set; null if the network has none"
    )
    links: dict[Format, str] = Field(description="where this face can be fetched, as long as the server keeps it")


class Reconstruction(BaseModel):
    id: str
    image: ImageSize
    landmark_vertices: list[int] = Field(description="for each landmark the mesh's nearest vertex, from 0")
    faces: list[FaceAnswer] = Field(
        description="in the order of the boxes, or the largest first; none if none was found"
    )


def reconstructions_router(engine: Engine, results: ResultStore) -> APIRouter:
    router = APIRouter(prefix="/v1/reconstructions", tags=["reconstruction"], responses=REFUSALS)
    files = {"content": {media_type: {} for media_type in MEDIA_TYPES.values()}}

    @router.post("", summary="Faces of one photo", response_model=Reconstruction, responses={200: files})
    async def reconstruct(
        request: Request,
        photo: Annotated[UploadFile, File(description="JPEG, PNG, WebP, BMP or TIFF")],
        box: Annotated[
            list[str] | None,
            Form(description="x,y,width,height in pixels, once for each face; else they are found"),
        ] = None,
        landmarks: Annotated[str | None, Form(description="JSON, 68 x [x, y]: the face is where they are")] = None,
        format: Annotated[Format | None, Query(description="of the answer; else by Accept, else json")] = None,
        accept: Annotated[str, Header()] = "",
    ):
        """The answer is JSON, or with `?format=` or `Accept` a file of the largest face: `.glb`, `.ply`, `.mat`, or an
        `.obj` zipped with its texture."""
        form = format or _preferred(accept)
        data = await photo.read()
        answer = await engine.reconstruct(data, "photo", _given_boxes(box, landmarks))
        if form != "json":
            if not answer.faces:
                raise Problem(422, "no face was found in the photo; give its box")
            return await engine.run(_file_response, data, answer.faces[0], form, "face", engine.limits)
        identifier = results.keep(Result(data, answer))
        base = request.url_for("reconstruct").path
        faces = [_face_answer(face, f"{base}/{identifier}/faces/{n}") for n, face in enumerate(answer.faces)]
        reconstruction = Reconstruction(
            id=identifier,
            image=ImageSize(width=answer.width, height=answer.height),
            landmark_vertices=engine.reconstructor.grid.landmark_vertices.tolist(),
            faces=faces,
        )
        return Response(reconstruction.model_dump_json(), media_type=MEDIA_TYPES["json"])

    @router.get(
        "/{identifier}/faces/{number}.{format}",
        summary="One face of a photo that was sent a moment ago",
        response_class=Response,
        responses={200: files, 404: {"model": ProblemBody}},
    )
    async def fetch(request: Request, identifier: str, number: int, format: Format):
        result = results.find(identifier, number)
        face = result.photo.faces[number]
        if format == "json":
            content = _face_answer(face, request.url.path.removesuffix(".json")).model_dump_json()
            return Response(content, media_type=MEDIA_TYPES["json"], headers=_attachment(f"face{number + 1}.json"))
        return await engine.run(_file_response, result.data, face, format, f"face{number + 1}", engine.limits)

    return router


def _preferred(accept: str) -> str:
    """The first of the accepted media types that is on offer."""
    offered = (ACCEPTED.get(choice.partition(";")[0].strip().lower()) for choice in accept.split(","))
    return next(filter(None, offered), "json")


def _given_boxes(rectangles: list[str] | None, landmarks: str | None):
    """What `Engine.reconstruct` takes for boxes; None where the request gives none. Raises `Problem` 422."""
    if landmarks is not None:
        boxes = [landmark_box(_parse_landmarks(landmarks))]
    elif rectangles:
        boxes = [box_of_rectangle(*_parse_rectangle(text)) for text in rectangles]
    else:
        return None
    return lambda photo: boxes


def _parse_rectangle(text: str) -> list[float]:
    try:
        x, y, width, height = (float(number) for number in text.split(","))
    except ValueError:
        width = height = 0.0
    if not (width > 0 and height > 0):
        raise Problem(422, f"box: {text[:60]!r} is not x,y,width,height of a rectangle")
    return [x, y, width, height]


def _parse_landmarks(text: str) -> np.ndarray:
    try:
        points = np.array(json.loads(text), dtype=np.float64)
    except (ValueError, TypeError, RecursionError, OverflowError):
        points = np.empty(0)
    if points.shape not in ((LANDMARK_COUNT, 2), (LANDMARK_COUNT, 3)):
        raise Problem(422, f"landmarks: not a JSON list of {LANDMARK_COUNT} points [x, y]")
    return points


def _square(box: Box, margin: float = 1.0) -> Square:
    x, y = np.round(box.centre, 3).tolist()
    return Square(centre=(x, y), side=round(box.side * margin, 3))


def _face_answer(face: Face, base: str) -> FaceAnswer:
    pose = face.pose
    return FaceAnswer(
        box=_square(face.tracked_box),
        crop=_square(face.box, CROP_MARGIN),
        landmarks=np.round(face.landmarks.astype(np.float64), 3).tolist(),
        pose=PoseAnswer(yaw=pose.yaw, pitch=pose.pitch, roll=pose.roll, matrix=pose.matrix.tolist()),
        **face.described_parameters(),
        links={form: f"{base}.{form}" for form in MEDIA_TYPES},
    )


def _attachment(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def _file_response(data: bytes, face: Face, form: str, stem: str, limits) -> Response:
    image = read_photo(data, "photo", limits)
    if form == "mat":
        content, suffix = mat_bytes(face, image), "mat"
    else:
        with tempfile.TemporaryDirectory(prefix="prnet-") as folder:
            paths = write_mesh(face_mesh(face, image), Path(folder) / f"{stem}.{form}")
            content, suffix = (paths[0].read_bytes(), form) if len(paths) == 1 else (_zipped(paths), "zip")
    return Response(content, media_type=MEDIA_TYPES[form], headers=_attachment(f"{stem}.{suffix}"))


def _zipped(paths: list[Path]) -> bytes:
    with BytesIO() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in paths:
                archive.write(path, path.name)
        return file.getvalue()

"""The API for new programs: one photo in; landmarks, pose and links out, or a file of its first face."""

import json
from collections.abc import Mapping
from io import BytesIO
from typing import Annotated, Any, Literal, get_args

import numpy as np
from fastapi import APIRouter, File, Form, Header, Query, Request, Response, UploadFile
from pydantic import BaseModel, Field

from prnet.configure.config import CROP_MARGIN, LANDMARK_COUNT
from prnet.geometry.crop import Box, landmark_box
from prnet.reconstructing.detection import box_of_rectangle
from prnet.reconstructing.face import Face
from prnet.serving.engine import Engine, Photo
from prnet.serving.face_files import (
    MEDIA_TYPES,
    add_to_archive,
    attachment,
    every_file,
    face_file,
    face_stem,
    stem_of,
)
from prnet.serving.limits import Limits
from prnet.serving.origins import network_of
from prnet.serving.problems import Problem, problems
from prnet.serving.results import Result, ResultStore
from prnet.serving.uploads import read_photo

Format = Literal["json", "glb", "obj", "ply", "mat", "texture", "sheet"]

ACCEPTED = {media_type: form for form, media_type in MEDIA_TYPES.items() if media_type != "image/png"} | {
    "model/obj": "obj",
    "image/png": "texture",
}

REFUSED = (400, 403, 408, 413, 415, 421, 422, 429, 503)

FACE_COUNT = "X-Face-Count"
"""The header that says how many faces a photo has, whatever form the answer takes."""

EXAMPLES = {
    "curl": """curl -F photo=@face.jpg {address}/v1/reconstructions
curl -F photo=@face.jpg '{address}/v1/reconstructions?format=glb' -o face.glb
curl -F photo=@group.jpg '{address}/v1/reconstructions?format=sheet&face=1' -o second.png
curl -F photo=@face.jpg -F box=170,70,110,150 {address}/v1/reconstructions""",
    "python": """import requests

with open("face.jpg", "rb") as photo:
    answer = requests.post("{address}/v1/reconstructions", files={"photo": photo})
for face in answer.json()["faces"]:
    print(face["pose"]["yaw"], face["confidence"], face["landmarks"][30])
glb = requests.get("{address}" + answer.json()["faces"][0]["links"]["glb"]).content""",
}


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
    confidence: float = Field(description="0 to 1: how far the face can be trusted, by its size, sharpness and place")
    doubts: list[str] = Field(description="what lowers it, in words; none for a clear face")
    links: dict[Format, str] = Field(description="where this face can be fetched, as long as the server keeps it")


class Reconstruction(BaseModel):
    id: str
    image: ImageSize
    landmark_vertices: list[int] = Field(description="for each landmark the mesh's nearest vertex, from 0")
    faces: list[FaceAnswer] = Field(
        description="in the order of the boxes, or the largest first; none if none was found"
    )
    links: dict[Literal["zip"], str] = Field(description="meshes, textures and sheets of all faces in one archive")


def reconstructions_router(engine: Engine, results: ResultStore) -> APIRouter:
    router = APIRouter(
        prefix="/v1/reconstructions",
        tags=["reconstruction"],
        responses=problems(*REFUSED),
    )
    files: dict[str, Any] = {"content": {media_type: {} for media_type in MEDIA_TYPES.values()}}
    count = {FACE_COUNT: {"description": "faces in the photo", "schema": {"type": "integer"}}}

    @router.post(
        "",
        summary="Faces of one photo",
        response_model=Reconstruction,
        responses={200: {**files, "headers": count}},
        openapi_extra={"x-examples": EXAMPLES},
    )
    async def reconstruct(
        request: Request,
        photo: Annotated[UploadFile, File(description="JPEG, PNG, WebP, BMP or TIFF")],
        box: Annotated[
            list[str] | None,
            Form(description="x,y,width,height in pixels, once for each face; else they are found"),
        ] = None,
        landmarks: Annotated[str | None, Form(description="JSON, 68 x [x, y]: the face is where they are")] = None,
        format: Annotated[Format | None, Query(description="of the answer; else by Accept, else json")] = None,
        face: Annotated[int, Query(description="which face a file is of, from 0: the largest, or first box")] = 0,
        accept: Annotated[str, Header()] = "",
    ):
        """The answer is JSON, or with `?format=` or `Accept` a file of one face: `.glb`, `.ply`, `.mat`, an `.obj`
        zipped with its texture, or as `.png` its texture or a sheet of pictures. `?face=` says of which."""
        form = format or _preferred(accept)
        data = await photo.read()
        answer = await engine.reconstruct(data, "photo", _given_boxes(box, landmarks))
        counted = {FACE_COUNT: str(len(answer.faces))}
        stem = stem_of(photo.filename)
        if form != "json":
            chosen = _chosen_face(answer.faces, face)
            return await engine.run(_file_response, data, chosen, form, face_stem(stem, face), engine.limits, counted)
        identifier = results.keep(Result(data, answer, stem))
        base = request.url_for("reconstruct").path
        faces = [_face_answer(answer, n, f"{base}/{identifier}/faces/{n}") for n in range(len(answer.faces))]
        reconstruction = Reconstruction(
            id=identifier,
            image=ImageSize(width=answer.width, height=answer.height),
            landmark_vertices=engine.reconstructor.grid.landmark_vertices.tolist(),
            faces=faces,
            links={"zip": f"{base}/{identifier}.zip"},
        )
        return Response(reconstruction.model_dump_json(), media_type=MEDIA_TYPES["json"], headers=counted)

    @router.get(
        "/{identifier}/faces/{number}.{format}",
        summary="One face of a photo that was sent a moment ago",
        response_class=Response,
        responses={200: files, **problems(404)},
        openapi_extra={"x-examples": {"curl": "curl {address}/v1/reconstructions/ID/faces/0.glb -o face.glb"}},
    )
    async def fetch(request: Request, identifier: str, number: int, format: Format):
        result = results.find(identifier, number)
        face, stem = result.photo.faces[number], face_stem(result.stem, number)
        if format == "json":
            described = _face_answer(result.photo, number, request.url.path.removesuffix(".json"))
            content = described.model_dump_json()
            return Response(content, media_type=MEDIA_TYPES["json"], headers=attachment(f"{stem}.json"))
        return await engine.run(_file_response, result.data, face, format, stem, engine.limits, {})

    @router.get(
        "/{identifier}.zip",
        summary="All faces of a photo that was sent a moment ago, in one archive",
        response_class=Response,
        responses={200: {"content": {"application/zip": {}}}, **problems(404)},
        openapi_extra={"x-examples": {"curl": "curl {address}/v1/reconstructions/ID.zip -o faces.zip"}},
    )
    async def archive(request: Request, identifier: str):
        result, file = results.find(identifier, 0), BytesIO()
        async with engine.turn(network_of(request.client)):
            image = await engine.run(read_photo, result.data, "photo", engine.limits)
            for number, face in enumerate(result.photo.faces):
                await engine.run(_archive_face, file, face, image, face_stem(result.stem, number))
        name = f"{result.stem}_faces.zip"
        return Response(file.getvalue(), media_type="application/zip", headers=attachment(name))

    return router


def _chosen_face(faces: list[Face], number: int) -> Face:
    if not faces:
        raise Problem(422, "no face was found in the photo; give its box")
    if not 0 <= number < len(faces):
        raise Problem(422, f"face: there is no face {number}; the photo has {len(faces)}, counted from 0")
    return faces[number]


def _preferred(accept: str) -> str:
    """The first of the accepted media types that is on offer."""
    offered = (ACCEPTED.get(choice.partition(";")[0].strip().lower()) for choice in accept.split(","))
    return next(filter(None, offered), "json")


def _given_boxes(rectangles: list[str] | None, landmarks: str | None):
    """What `Engine.reconstruct` takes for boxes; None where the request gives none. Raises `Problem` 422."""
    if landmarks is not None:
        boxes = [landmark_box(_parse_landmarks(landmarks))]
    elif rectangles:
        boxes = [_parse_rectangle(text) for text in rectangles]
    else:
        return None
    return lambda photo: boxes


def _parse_rectangle(text: str) -> Box:
    try:
        x, y, width, height = (float(number) for number in text.split(","))
    except ValueError:
        width = height = 0.0
    if not (width > 0 and height > 0):
        raise Problem(422, f"box: {text[:60]!r} is not x,y,width,height of a rectangle")
    return box_of_rectangle(x, y, width, height)


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


def _face_answer(photo: Photo, number: int, base: str) -> FaceAnswer:
    face, quality = photo.faces[number], photo.qualities[number]
    pose = face.pose
    return FaceAnswer(
        box=_square(face.tracked_box),
        crop=_square(face.box, CROP_MARGIN),
        landmarks=np.round(face.landmarks.astype(np.float64), 3).tolist(),
        pose=PoseAnswer(yaw=pose.yaw, pitch=pose.pitch, roll=pose.roll, matrix=pose.matrix.tolist()),
        **face.described_parameters(),
        confidence=quality.confidence,
        doubts=quality.doubts,
        links={form: f"{base}.{form}" for form in get_args(Format)},
    )


def _file_response(
    data: bytes, face: Face, form: str, stem: str, limits: Limits, headers: Mapping[str, str]
) -> Response:
    content, name = face_file(face, read_photo(data, "photo", limits), form, stem)
    return Response(content, media_type=MEDIA_TYPES[form], headers={**attachment(name), **headers})


def _archive_face(file: BytesIO, face: Face, image: np.ndarray, stem: str) -> None:
    add_to_archive(file, every_file(face, image, stem))

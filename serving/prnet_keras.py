"""The API of PRNet-keras' server, so that its clients work unchanged: images and `.mat` files as base64 in JSON.

A mesh is a `.mat` file with `vertices` (x right and y up from the photo's last row, z to the camera, pixels), `colors`
in 0 to 1, `vertex_normals`, `full_triangles` and `kptIdxs` from 0, and `bounding_box` (the least x, y, z, then the
greatest). For `matType` "dotnet" the arrays with a row for each vertex or triangle are transposed, so that a reader
that expects columns first gets them right.
"""

import asyncio
import base64
from dataclasses import dataclass
from io import BytesIO
from typing import Annotated, Literal, TypeVar

import numpy as np
from fastapi import APIRouter
from pydantic import BaseModel, FailFast, Field
from scipy.io import savemat

from prnet.configure.config import CROP_MARGIN, LANDMARK_COUNT
from prnet.evaluating.protocols import PROTOCOLS
from prnet.evaluating.scoring import Column, Prediction, Truth, score
from prnet.evaluating.types import EvaluationType, Kind
from prnet.geometry.crop import Box
from prnet.reconstructing.face import Face
from prnet.reconstructing.mesh_files import mat_fields
from prnet.serving.engine import Engine, check_box
from prnet.serving.fits import FARTHEST, FitMeshes
from prnet.serving.problems import Problem, problems
from prnet.serving.uploads import decode_base64, read_mat, read_photo

TRANSPOSED = ("vertices", "colors", "full_triangles", "vertex_normals")
"""What "dotnet" turns round."""

MAX_VERTICES = 100_000
"""Of a mesh that is evaluated."""

REFUSALS = problems(400, 403, 408, 413, 415, 421, 422, 429, 501, 503)

IMAGE_MATS = '{"matType": "normal", "imageMatList": [{"rawImage": "...", "rawMats": [%s]}]}'
PAIRS = '{"imageMatList": [{"rawImage": "", "rawOrgMats": ["..."], "rawPredictMats": ["..."]}]}'
READ = """import base64, requests

def read(path):
    return base64.b64encode(open(path, "rb").read()).decode()

"""


def examples(path: str, body: str, python: str) -> dict[str, dict[str, str]]:
    """For the page of the API; `...` stands for a file in base64."""
    curl = f"curl {{address}}{path} -H 'Content-Type: application/json' -d '{body}'"
    call = f'answer = requests.post("{{address}}{path}", json=request).json()'
    return {"x-examples": {"curl": curl, "python": f"{READ}request = {python}\n{call}"}}


Item = TypeVar("Item")
FailFastList = Annotated[list[Item], FailFast()]
"""A list of which the first wrong item is told; to collect all of 100,000 would hold the server up for a second."""


class ImageMats(BaseModel):
    rawImage: str = Field(description="an image file in base64")
    rawMats: FailFastList[str] = Field(description="its faces' fits, .mat files in base64; empty ones are left out")


class MatRequest(BaseModel):
    matType: Literal["normal", "dotnet"] | None = "normal"
    imageMatList: FailFastList[ImageMats]


class FaceMesh(BaseModel):
    rawMesh: str = Field(description="a .mat file in base64")
    faceBB: list[int] = Field(description="the crop's centre x, centre y, side, in pixels of the image")


class ImageMeshes(BaseModel):
    faceMeshList: list[FaceMesh]


class MeshAnswer(BaseModel):
    imageMeshList: list[ImageMeshes]


class ImagePairs(BaseModel):
    rawImage: str = Field(description="not looked at")
    rawOrgMats: FailFastList[str] = Field(description="true faces, fits or meshes, .mat files in base64")
    rawPredictMats: FailFastList[str] = Field(description="their predictions")


class EvaluationRequest(BaseModel):
    imageMatList: FailFastList[ImagePairs]


class PairErrors(BaseModel):
    evalValues: list[float] = Field(description="NME of each type, 0.03 is 3 %; none where a file of the pair is empty")


class ImageErrors(BaseModel):
    imageEvalValues: list[PairErrors]


class EvaluationAnswer(BaseModel):
    evaluationTypes: list[str]
    evaluationDataList: list[ImageErrors]


def prnet_keras_router(engine: Engine, fits: FitMeshes) -> APIRouter:
    router = APIRouter(tags=["PRNet-keras"], responses=REFUSALS)

    given = '{"matType": "normal", "imageMatList": [{"rawImage": read("face.jpg"), "rawMats": [%s]}]}'
    pair = '{"imageMatList": [{"rawImage": "", "rawOrgMats": [read("a.mat")], "rawPredictMats": [read("b.mat")]}]}'

    @router.post(
        "/predict",
        summary="Meshes from images; a fit says where the face is",
        openapi_extra=examples("/predict", IMAGE_MATS % "", given % ""),
    )
    async def predict(request: MatRequest) -> MeshAnswer:
        images = await engine.run(_decoded, request, engine.limits)
        found = 0

        async def answer(number, data, mats):
            nonlocal found
            given = [(f"rawMats[{n}]", mat) for n, mat in enumerate(mats) if mat]
            boxes_of = (lambda photo: [fits.box(mat, name, photo) for name, mat in given]) if given else None
            photo = await engine.reconstruct(data, f"image {number}", boxes_of)
            found += len(photo.faces)
            _limit(found, engine.limits.faces, "faces")
            return await engine.run(_meshes, data, number, photo.faces, request.matType, engine.limits)

        return MeshAnswer(imageMeshList=await _all(answer, images))

    @router.post(
        "/extract",
        summary="Meshes of fits",
        openapi_extra=examples("/extract", IMAGE_MATS % '"..."', given % 'read("face.mat")'),
    )
    async def extract(request: MatRequest) -> MeshAnswer:
        """The face region of the face model as each fit shapes and places it, with the image's colours."""
        images = await engine.run(_decoded, request, engine.limits)

        def extracted(number, data, mats):
            image = read_photo(data, f"image {number}", engine.limits)
            faces = [fits.face(mat, f"rawMats[{n}]", image.shape[0]) if mat else None for n, mat in enumerate(mats)]
            for face in filter(None, faces):
                check_box(face.box, image, f"image {number}")
            return ImageMeshes(faceMeshList=[_face_mesh(face, image, request.matType) for face in faces])

        async def answer(*arguments):
            return await engine.run(extracted, *arguments)

        return MeshAnswer(imageMeshList=await _all(answer, images))

    @router.post(
        "/evaluate",
        summary="NME of the six types for pairs of meshes",
        openapi_extra=examples("/evaluate", PAIRS, pair),
    )
    async def evaluate(request: EvaluationRequest) -> EvaluationAnswer:
        """By the protocol `prnet-keras`: over the diagonal of the true mesh's box, z from the farthest vertex."""

        async def answer(number, pairs):
            name, sides = f"image {number}", (pairs.rawOrgMats, pairs.rawPredictMats)
            if len(sides[0]) != len(sides[1]):
                raise Problem(422, f"{name}: {len(sides[0])} rawOrgMats for {len(sides[1])} rawPredictMats")
            errors = []
            for n, pair in enumerate(zip(*sides, strict=True)):  # each by itself, so that a client's leaving ends it
                names = [f"{name}: {side}[{n}]" for side in ("rawOrgMats", "rawPredictMats")]
                errors.append(await engine.run(_errors_of_pair, pair, names, fits, engine.limits))
            return ImageErrors(imageEvalValues=errors)

        _limit(len(request.imageMatList), engine.limits.images, "images")
        _limit(sum(len(image.rawOrgMats) for image in request.imageMatList), engine.limits.faces, "pairs")
        errors = await _all(answer, list(enumerate(request.imageMatList)))
        return EvaluationAnswer(evaluationTypes=[each.title for each in EvaluationType], evaluationDataList=errors)

    return router


async def _all(answer, arguments):
    """Answers for all images together; the first that is refused calls the others off."""
    tasks = [asyncio.ensure_future(answer(*each)) for each in arguments]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _limit(count: int, most: int, what: str) -> None:
    if count > most:
        raise Problem(413, f"{count} {what}, more than {most}; send them in parts")


def _decoded(request: MatRequest, limits) -> list[tuple[int, bytes, list[bytes]]]:
    _limit(len(request.imageMatList), limits.images, "images")
    _limit(sum(len(image.rawMats) for image in request.imageMatList), limits.faces, "rawMats")
    return [
        (
            number,
            decode_base64(image.rawImage, f"image {number}: rawImage"),
            [decode_base64(mat, f"image {number}: rawMats[{n}]") for n, mat in enumerate(image.rawMats)],
        )
        for number, image in enumerate(request.imageMatList)
    ]


def _meshes(data: bytes, number: int, faces: list[Face], mat_type: str | None, limits) -> ImageMeshes:
    image = read_photo(data, f"image {number}", limits)
    return ImageMeshes(faceMeshList=[_face_mesh(face, image, mat_type) for face in faces])


def _face_mesh(face: Face | None, image: np.ndarray, mat_type: str | None) -> FaceMesh:
    if face is None:
        return FaceMesh(rawMesh="", faceBB=[])
    fields = mat_fields(face, image)
    if mat_type == "dotnet":
        fields |= {name: fields[name].T for name in TRANSPOSED}
    with BytesIO() as file:
        savemat(file, fields)
        return FaceMesh(rawMesh=base64.b64encode(file.getvalue()).decode(), faceBB=_crop_square(face.box))


def _crop_square(box: Box) -> list[int]:
    return [int(box.centre[0]), int(box.centre[1]), int(box.side * CROP_MARGIN)]


@dataclass(frozen=True)
class EvaluatedMesh:
    """One side of a pair, in the axes of mesh files."""

    points: np.ndarray  # (M, 3) float64 pixels: the whole mesh, with the neck where it is known
    face: np.ndarray  # (N,) int, those of the face
    landmarks: np.ndarray  # (68, 3)


def _errors_of_pair(texts: tuple[str, str], names: list[str], fits: FitMeshes, limits) -> PairErrors:
    """Of a true mesh and its prediction, files in base64."""
    files = [decode_base64(text, name) for text, name in zip(texts, names, strict=True)]
    if not all(files):
        return PairErrors(evalValues=[])
    truth, prediction = (_read_mesh(mat, name, fits, limits) for mat, name in zip(files, names, strict=True))
    if len(truth.face) != len(prediction.face):
        raise Problem(422, f"{names[1]}: {len(prediction.face)} vertices, but {len(truth.face)} true ones")
    return PairErrors(evalValues=_pair_errors(prediction, truth, names[0]))


def _read_mesh(data: bytes, name: str, fits: FitMeshes, limits) -> EvaluatedMesh:
    arrays = read_mat(data, ("vertices", "kptIdxs", "Pose_Para"), name, limits)
    if "vertices" not in arrays:
        if "Pose_Para" not in arrays:
            raise Problem(422, f"{name}: has no plain array of numbers called vertices, and no fit's Pose_Para")
        face = fits.face(data, name, image_height=0)
        points = face.position_map.reshape(-1, 3) * (1.0, -1.0, 1.0) - (0.0, 1.0, 0.0)  # up from a photo without rows
        texels = np.flatnonzero(face.grid.mask)
        return EvaluatedMesh(points, texels, points[texels[face.grid.landmark_vertices]])
    vertices = np.asarray(arrays["vertices"], dtype=np.float64)
    if vertices.ndim != 2 or 3 not in vertices.shape or not LANDMARK_COUNT <= max(vertices.shape) <= MAX_VERTICES:
        raise Problem(422, f"{name}: vertices must be N x 3 with N from {LANDMARK_COUNT} to {MAX_VERTICES}")
    if not (np.abs(vertices) < FARTHEST).all():
        raise Problem(422, f"{name}: vertices lie more than {FARTHEST:g} pixels away")
    vertices = vertices if vertices.shape[1] == 3 else vertices.T
    indices = np.asarray(arrays.get("kptIdxs", ()), dtype=np.float64).ravel()
    if len(indices) != LANDMARK_COUNT or (indices % 1).any() or indices.min() < 0 or indices.max() >= len(vertices):
        raise Problem(422, f"{name}: kptIdxs must be {LANDMARK_COUNT} indices of vertices, from 0")
    return EvaluatedMesh(vertices, np.arange(len(vertices)), vertices[indices.astype(int)])


def _pair_errors(prediction: EvaluatedMesh, truth: EvaluatedMesh, name: str) -> list[float]:
    """The six types, as fractions, by the protocol `prnet-keras`."""
    with np.errstate(all="ignore"):
        try:
            found = score(
                Prediction(prediction.landmarks, prediction.points[prediction.face]),
                Truth(truth.landmarks, truth.points, truth.landmarks),
                truth.face,
                [Column(each, "icp" if each.kind is Kind.RECONSTRUCTION else None) for each in EvaluationType],
                PROTOCOLS["prnet-keras"],
            ).errors
        except (ValueError, np.linalg.LinAlgError):
            found = np.array([np.nan])
    if not np.isfinite(found).all():
        raise Problem(422, f"{name}: this pair cannot be compared; a mesh has no extent")
    return (found / 100).tolist()

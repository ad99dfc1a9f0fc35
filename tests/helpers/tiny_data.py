"""A data set of a few rendered sample faces, small enough to train on within a test."""

import cv2
import numpy as np

from prnet.formats.encoding import encode_jpeg
from prnet.formats.face_model_file import save_face_model
from prnet.formats.mat_files import mat_file_bytes
from prnet.generating.dataset_writer import Sample, dataset_writer
from prnet.geometry.crop import landmark_box
from prnet.geometry.face_model import FaceModel, face_vertices
from prnet.geometry.pose import fit_to_pixels
from prnet.geometry.position_map import layout_of_model
from prnet.geometry.rasterise import render

IMAGE_SIDE = 120


def write_tiny_data(folder, model: FaceModel, count: int = 12, validation: int = 4, file="train.hdf5", mirrored=False):
    """Write face_model.hdf5 and a data set of `count` faces, the last `validation` of them held out."""
    save_face_model(model, folder / "face_model.hdf5")
    random = np.random.default_rng(0)
    deviations = np.concatenate([model.shape_deviation, model.expression_deviation])
    samples = [
        _sample(f"tiny_{index}", "TINY_Flip" if mirrored and index % 2 else "TINY", model, random, deviations)
        for index in range(count)
    ]
    identities = {"model_identity": model.identity, "layout_identity": layout_of_model(model).identity}
    with dataset_writer(folder / file, data_mode=5, **identities) as writer:
        writer.append(samples)
        writer.finish(np.arange(count), np.arange(count) >= count - validation)


def write_tiny_pairs(folder, model: FaceModel, count: int = 12) -> list[str]:
    """Write `count` photos with fits in 300W-LP's format; returns their names."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    deviations = np.concatenate([model.shape_deviation, model.expression_deviation])
    names = [f"photo{index:02d}_0" for index in range(count)]
    for name in names:
        sample = _sample(name, folder.name, model, random, deviations)
        picture = cv2.imdecode(np.frombuffer(sample.image, np.uint8), cv2.IMREAD_COLOR_RGB)
        (folder / f"{name}.jpg").write_bytes(encode_jpeg(picture, 95))
        shape, expression = np.split(sample.label, [len(model.shape_deviation)])
        fit = {"Shape_Para": shape, "Exp_Para": expression, "Pose_Para": sample.pose + [0, 0, 0, 1, 1, 0, 0]}
        (folder / f"{name}.mat").write_bytes(mat_file_bytes({key: value[None] for key, value in fit.items()}))
    return names


def _sample(name: str, folder: str, model: FaceModel, random, deviations) -> Sample:
    coefficients = (0.5 * random.normal(size=len(deviations)) * deviations).astype(np.float32)
    vertices = face_vertices(model, coefficients)
    yaw = random.uniform(-0.6, 0.6)
    scale = 0.6 * IMAGE_SIDE / np.ptp(vertices[:, 1])
    pose = np.array([0, yaw, 0, IMAGE_SIDE / 2, IMAGE_SIDE / 2, 0, scale])
    transform = fit_to_pixels(pose, IMAGE_SIDE)
    points = (vertices @ transform[:, :3].T + transform[:, 3]).astype(np.float32)
    background = np.full((IMAGE_SIDE, IMAGE_SIDE, 3), random.integers(0, 255, 3), dtype=np.uint8)
    image = render(points, model.triangles, model.mean_texture * 255, background)
    landmarks = points[model.landmark_vertices[:, 0]]
    box = landmark_box(landmarks)
    return Sample(
        name=name,
        folder=folder,
        yaw=float(np.rad2deg(yaw)),
        box=(*map(float, box.centre), box.side),
        image_height=IMAGE_SIDE,
        image_width=IMAGE_SIDE,
        landmarks=landmarks,
        image=cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes(),
        label=coefficients,
        pose=pose,
    )

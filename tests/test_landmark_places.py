"""Where landmarks are read off the maps of ICT-FaceKit's layout, and that photos bear it out."""

import zipfile

import h5py
import numpy as np

from prnet.evaluating.nme import nme, root_box_area
from prnet.formats.photos import decode_image
from prnet.generating.batches import MIRRORED_LANDMARKS
from prnet.generating.split import split_by_group
from prnet.geometry.crop import landmark_box
from prnet.geometry.landmark_places import FOUND_ON_PHOTOS
from prnet.geometry.uv_layout import face_mask, landmark_places, landmark_texels, sample_landmarks


def test_the_shipped_network_reads_them_where_photos_show_them(shipped):
    layout = shipped.layout
    places = landmark_places(layout)
    np.testing.assert_array_equal(places, FOUND_ON_PHOTOS[layout.identity])
    assert np.linalg.norm((places - layout.landmark_uv) * 127, axis=1).max() < 6
    np.testing.assert_allclose(places[MIRRORED_LANDMARKS] * (-1, 1) + (1, 0), places, atol=0.01)
    column, row = landmark_texels(layout, 128).T
    assert face_mask(layout, 128)[row, column].all()


def test_other_layouts_keep_their_own(layout):
    np.testing.assert_array_equal(landmark_places(layout), layout.landmark_uv)


def test_they_are_nearer_to_the_landmarks_of_held_out_photos(shipped, shared_data, monkeypatch):
    """On 60 photos that took no part in finding them; `benchmarks.landmark_places` measures all 700."""
    with h5py.File(shared_data / "faces" / "labels.hdf5") as file:
        truth = file["landmarks68"][:] / 16
    with zipfile.ZipFile(shared_data / "faces" / "300W-LP.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")]
        stems = [name.rpartition("/")[2].removesuffix(".jpg") for name in names]
        chosen = np.flatnonzero(split_by_group(stems, 0.05)[1])[:60]
        photos = [decode_image(archive.read(names[index]), names[index]) for index in chosen]
    boxes = [[landmark_box(truth[index])] for index in chosen]
    maps = np.stack([faces[0].position_map for faces in shipped.reconstruct_batch(photos, boxes)])
    found = [sample_landmarks(maps, shipped.layout)]
    monkeypatch.setattr("prnet.geometry.uv_layout.FOUND_ON_PHOTOS", {})
    found.append(sample_landmarks(maps, shipped.layout))
    errors = [nme((points - truth[chosen])[..., :2], root_box_area(truth[chosen])).mean() for points in found]
    assert errors[0] < errors[1] - 0.05

"""The main job on real files, with the real scripts: seven photos are learned until the network knows them."""

import csv
from dataclasses import replace

import pytest

from prnet.commands import build_dataset, build_face_model, evaluate_model
from prnet.configure.config import NO_AUGMENTATION, Run
from prnet.configure.recipes import RECIPES

REPEATS = 20
"""The photos stand in the data set as often, so that an epoch is long beside the writing of models."""


@pytest.mark.large
def test_the_light_network_learns_seven_real_photos(shared_data, tmp_path):
    from prnet.formats.face_model_file import load_face_model
    from prnet.generating.builder import build_dataset as build
    from prnet.generating.dataset import open_dataset
    from prnet.model.training import train

    face_model = str(tmp_path / "face_model.hdf5")
    bfm = shared_data / "bfm"
    build_face_model.main(["--bfm", str(bfm / "BFM.mat"), "--uv", str(bfm / "BFM_UV.mat"), "--output", face_model])
    model = load_face_model(face_model)
    photos = [shared_data / "AFLW2000", shared_data / "300W_LP"]
    build(photos * REPEATS, tmp_path / "train.hdf5", model, validation_share=0.0, progress=False)
    training = replace(RECIPES["lprnet"](), epochs=36, batch_size=7, drop_every=9, augmentation=NO_AUGMENTATION)
    with open_dataset(tmp_path / "train.hdf5") as dataset:
        train(training, Run(), dataset, model, tmp_path / "run")

    arguments = ["--extractdir", str(shared_data), "--hdf5dir", str(tmp_path), "--facemodel", face_model]
    assert build_dataset.main([*arguments, "--buildmode", "val"]) == 0
    arguments = ["--modeldir", str(tmp_path / "run"), "--hdf5", str(tmp_path / "val.hdf5"), "--facemodel", face_model]
    assert evaluate_model.main([*arguments, "--evalidxs", "0", "--outputdir", str(tmp_path / "evaluation")]) == 0
    with open(tmp_path / "evaluation" / "benchmark.csv", newline="", encoding="utf-8") as table:
        row = next(row for row in csv.DictReader(table) if row["type"] == "sparse 2D")
    assert float(row["mean"]) < 4

"""The measurement of what changes of looks are worth, on a few rendered faces: every run, row and column is there."""

import re

import pytest

from benchmarks.looks import LOOKS, always, main, plain_training
from prnet.configure.config import NO_AUGMENTATION
from prnet.configure.recipes import photos
from tests.helpers.tiny_data import write_tiny_data


def test_nothing_of_looks_is_forgotten():
    full, plain = photos().augmentation, plain_training(8).augmentation
    changed = {name for name in vars(full) if getattr(full, name) != getattr(plain, name)}
    assert changed == set(LOOKS)
    for look in LOOKS:
        others = {name for name in LOOKS if name != look}
        assert all(getattr(always(look, full), name) == getattr(NO_AUGMENTATION, name) for name in others)
        assert getattr(always(look, full), look) in (1.0, getattr(full, look))


@pytest.mark.large
def test_every_change_is_tried_with_and_without(sample_model, tmp_path, capsys):
    write_tiny_data(tmp_path, sample_model, count=20)
    where = str(tmp_path)
    arguments = ["--photos", where, "--views", where, "--facemodel", f"{where}/face_model.hdf5"]
    main([*arguments, "--outputdir", f"{where}/looks", "--epochs", "1", "--further", "1"])
    printed = capsys.readouterr().out
    for look in LOOKS:
        assert re.search(rf"\| {look} \| [\d.]+ \| \S+ \+- \S+ \| [\d.]+ \| [\d.]+ \| \S+ \+- \S+ \|", printed), look
    assert re.search(r"\| none \| [\d.]+ \| \+0.00 \+- 0.00 \|\n", printed)
    assert re.search(r"\| none, again \| [\d.]+ \| \S+ \+- \S+ \|\n", printed)
    assert len(re.findall(r"\| (?:photos|views) \| (?:photos|views) \| .*\d", printed)) == 4

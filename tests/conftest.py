"""Fixtures shared by the tests: the real samples beside the checkout, where they are present."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")

# Cases of properties are the same in every run, and a busy machine may take as long as it takes for each.
settings.register_profile(
    "anywhere", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("anywhere")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """What a test printed may hold file names that are not UTF-8, which pytest-xdist could not hand on."""
    report = yield
    report.sections = [(title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections]
    return report


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real samples; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no real samples at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def stand_in_model(shared_data):
    """The stand-in Basel Face Model with PRNet's UV coordinates: 53,215 vertices, 228 components."""
    from prnet.formats.bfm import read_face3d_model

    return read_face3d_model(shared_data / "bfm" / "BFM.mat", uv_path=shared_data / "bfm" / "BFM_UV.mat")


@pytest.fixture(scope="session")
def sample_model():
    """The procedural face model of the sample data."""
    from prnet.generating.samples.model import make_sample_model

    return make_sample_model()


@pytest.fixture(scope="session")
def fits(sample_model):
    """Coefficients (400, K) of the sample model's faces, as a data set's fits hold them."""
    deviations = np.concatenate([sample_model.shape_deviation, sample_model.expression_deviation])
    return np.random.default_rng(0).normal(size=(400, len(deviations))) * deviations


@pytest.fixture(scope="session")
def layout(sample_model):
    """The UV layout of the sample model."""
    from prnet.geometry.position_map import layout_of_model

    return layout_of_model(sample_model)


@pytest.fixture(scope="session")
def basis(sample_model):
    """The sample model on the texels of maps of 128 x 128."""
    from prnet.geometry.position_map import map_basis

    return map_basis(sample_model, 128)


@pytest.fixture(scope="session")
def grid(layout):
    """The faces of networks of 128 x 128 that the sample model taught."""
    from prnet.reconstructing.face import face_grid

    return face_grid(layout, 128)


@pytest.fixture(scope="session")
def mean_reconstructor(sample_model, tmp_path_factory):
    """A reconstructor whose network sees the sample model's mean face in the middle of every photo."""
    from tests.helpers import serving_stand_in

    return serving_stand_in.mean_face_reconstructor(sample_model, tmp_path_factory.mktemp("network"))


@pytest.fixture(scope="session")
def shipped():
    """The reconstructor with the shipped network."""
    from prnet.reconstructing.reconstructor import FaceReconstructor

    return FaceReconstructor()


@pytest.fixture(scope="session")
def astronaut_face(shipped):
    """The face of scikit-image's astronaut, by the shipped network."""
    from skimage.data import astronaut

    return shipped.reconstruct(astronaut(), [(180, 80, 86, 110)])[0]


@pytest.fixture
def terminal(capsys):
    """`capsys`, with what the library logs on the terminal as programs show it."""
    from prnet.commands.terminal import log_on_terminal

    with log_on_terminal():
        yield capsys

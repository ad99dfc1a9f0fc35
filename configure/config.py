"""Constants with their units and sources, and the settings of each stage as frozen dataclasses.

A stage takes its dataclass and never a parsed command line. A variant is `dataclasses.replace(default, ...)`.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

MAP_SIZE = 256
"""Side of the reference crop and of the UV grid that masks are stored on, in pixels (PRNet, section 3)."""

IMAGE_SIZES = (128, 224, 256)
"""Sides of the square crops, in pixels, that the networks are built for."""

PHOTO_NETWORKS = {"photonet": 128, "photonet50": 224}
"""The networks that learn from photos without fits, each with the image size that it is meant for."""

NETWORKS = {"prnet": 256, "lprnet": 128, "morphnet": 128, **PHOTO_NETWORKS}
"""All networks, each with its image size."""

RENDERINGS = ("texels", "pixels")
"""Where a photo and the face that is read from it are compared: at the map's texels, or at the photo's pixels."""

CAMERAS = ("weak-perspective", "perspective")
"""How a `photonet` projects a face."""

OUTLIERS = ("cut", "kept")
"""Whether points whose colour is far off, or overexposed, count in the photometric loss of a `photonet`."""

CROPS = ("box", "five-points")
"""What crops are made from: the box of the 68 landmarks, or Deep3DFaceReconstruction's alignment by five points."""

RUNTIMES = ("auto", "keras", "onnx")
"""What runs a network. auto is ONNX Runtime where it is installed and the network's `.onnx` file lies beside it."""

HEADS = ("linear", "sigmoid")

DECODERS = ("transposed", "resize")
"""How the decoders of `prnet` and `lprnet` double their resolution (`prnet.model.blocks.upconvolve`)."""

LOSSES = ("mse", "wtmse", "wtrmse", "wtmae")
SCHEDULES = ("steps", "cosine")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
"""What `--head`, `--lossfunct`, `--schedule` and `--precision` choose from."""

TARGET_SCALE = 1.1
"""The network regresses a position map divided by image size x this number, as the published code does."""

LANDMARK_COUNT, NOSE_TIP = 68, 30
"""Landmarks in the iBUG order: jaw 0-16, brows 17-26, nose 27-35, eyes 36-47, lips 48-67."""

MEDIAPIPE_COUNT = 468
"""Points of MediaPipe's face mesh, without the ten of its irises."""

OUTER_EYE_CORNERS = (36, 45)
"""Landmarks whose 3D distance normalises the reconstruction error (0-based)."""

INNER_LIP_PAIRS = ((61, 67), (62, 66), (63, 65))
EYELID_PAIRS = ((37, 41), (38, 40), (43, 47), (44, 46))
"""Landmarks above each other (0-based), whose mean distances are the gap of the lips and the aperture of the eyes."""

SCORE_NAMES = tuple(f"eyeLook{way}{side}" for way in ("Down", "In", "Out", "Up") for side in ("Left", "Right"))
"""What no mesh without eyeballs shows: scores that a network reads off the photo itself, by ARKit's names."""

CROP_MARGIN = 1.5
"""Side of the crop over the mean side of the box around the 68 landmarks."""

YAW_BIN_EDGES = (30.0, 60.0)
"""Upper limits in degrees of |yaw| of the first two bins; the third has none (AFLW2000-3D, Zhu et al. 2016)."""

VALIDATION_SHARE = 0.05
"""Share of the training set's groups that selects the best model."""

ROOT = Path(__file__).resolve().parents[1]
CHECKOUT = None if (ROOT / "__init__.py").is_file() else ROOT
"""The folder of a checkout; None where the package is installed, and `ROOT` is its folder in site-packages."""

RESOURCES = ROOT / "resource"
"""Files that come with the code."""

SHIPPED_NETWORKS = {name: str(RESOURCES / "weights" / f"{name}.keras") for name in ("morphnet", "lprnet")}
"""Networks that come with the code, by the names that stand for their files wherever a network is asked for."""

USER_FOLDER = Path(os.path.expanduser("~"), ".prnet")
"""What an installed package writes for later, as Keras does in ~/.keras; a checkout uses its own `resource`."""

FACE_MODEL_PATH = os.environ.get("PRNET_FACE_MODEL") or str(
    (RESOURCES if CHECKOUT else USER_FOLDER) / "face_model.hdf5"
)
"""Where programs look for the face model, and write it, unless a flag says otherwise: $PRNET_FACE_MODEL, else
`resource/face_model.hdf5` in a checkout, `~/.prnet/face_model.hdf5` where the package is installed."""

RUNS_PATH = str((CHECKOUT / "output" if CHECKOUT else USER_FOLDER) / "served_runs.json")
"""Where the server keeps the runs that reported to it, unless a flag says otherwise."""

SERVER_HOST, SERVER_PORT = "127.0.0.1", 20000
"""Default address of `serve_model.py`; `--serverlog 1` posts there."""

LANDMARK_WEIGHT, FEATURE_WEIGHT, FACE_WEIGHT = 16.0, 4.0, 3.0
"""Loss weights of landmark texels, of eyes, nose and mouth, and of the rest of the face; the neck has 0 (PRNet,
section 3.2)."""


@dataclass(frozen=True)
class Augmentation:
    """Random changes to a training sample. The defaults are the published ones (PRNet, section 3.3).

    A range (low, high) is uniform; a probability is that of the change happening to a sample at all.
    """

    crop_margin: float = CROP_MARGIN
    crop_shift: float = 0.1  # of the landmark box's mean side, each way, each axis
    crop_scale: tuple[float, float] = (0.9, 1.1)  # of the crop square's side
    rotation: float = 45.0  # degrees each way about the crop's centre
    translation: float = 0.1  # of the crop's side, each way, each axis
    scale: tuple[float, float] = (0.9, 1.2)
    colour: tuple[float, float] = (0.6, 1.4)  # factor, drawn for each channel
    occlusion: float = 0.5  # probability of a patch of noise texture
    mirror: float = 0.0  # probability of a left-right mirrored sample
    gamma: tuple[float, float] = (1.0, 1.0)  # exponent, drawn as its logarithm
    occluder: float = 0.0  # probability of a patch of skin colour or of the photo's own texture
    shadow: float = 0.0  # probability of a soft-edged shadow over part of the crop
    blur: float = 0.0  # probability of a defocus or motion blur
    low_resolution: float = 0.0  # probability of a reduction to a half to a sixth and back
    noise: float = 0.0  # probability of sensor noise
    jpeg: float = 0.0  # probability of compression at quality 15 to 60
    reflection: float = 0.0  # probability that the photo's reflection lies beyond its edges, instead of black


NO_AUGMENTATION = Augmentation(
    crop_shift=0.0,
    crop_scale=(1.0, 1.0),
    rotation=0.0,
    translation=0.0,
    scale=(1.0, 1.0),
    colour=(1.0, 1.0),
    occlusion=0.0,
    mirror=0.0,
)
"""The reference crop and nothing else: validation, evaluation and data modes 0 to 3."""


@dataclass(frozen=True)
class LossTerms:
    """Weights of what is added to the loss of a map; 0 leaves a term out. Definitions: `model.losses`; `raw`,
    `scores` and `photo_landmarks` are added in `model.compilation`."""

    landmarks: float = 0.0  # mean distance of the 68 from the true map's
    photo_landmarks: float = 0.0  # mean distance of the 68 from those that came with the photo
    apertures: float = 0.0  # how far eyes and mouth are open
    edges: float = 0.0  # lengths between neighbouring texels (SADRNet: 1)
    normals: float = 0.0  # directions of the surface (SADRNet: 0.1)
    scores: float = 0.0  # squared error of `SCORE_NAMES`, where the data set has them
    raw: float = 0.5  # the map's own loss on a morphable network's raw map


@dataclass(frozen=True)
class PhotoTerms:
    """What a `photonet` learns from: the weights of Deep3DFaceReconstruction (Deng et al., CVPRW 2019); 0 leaves a
    term out. Definitions: `model.photo_losses`."""

    photometric: float = 1.92  # colour of the photo against that of the lit face
    landmarks: float = 1.6e-3  # squared distance of the 68
    perceptual: float = 0.2  # 1 - cosine of a recognition network's features, where one is given
    coefficients: float = 3e-4  # squared coefficients
    reflectance: float = 5.0  # variance of the skin's albedo
    light: float = 10.0  # colour of the light
    rendering: str = "texels"  # or "pixels"
    camera: str = "weak-perspective"  # or "perspective"
    outliers: str = "cut"  # from the photometric term: hair, gloss, overexposure; or "kept", as published
    recognition: str | None = None  # `.keras` file of the network whose features the perceptual term compares


@dataclass(frozen=True)
class Training:
    """What decides the result of a training run (PRNet, section 3.3, unless a recipe overrides it)."""

    network: str = "prnet"
    image_size: int = 256
    head: str = "linear"  # or "sigmoid", as published
    decoder: str = "transposed"  # as published, or "resize", against checkerboards; of `prnet` and `lprnet`
    loss: str = "mse"
    epochs: int = 50
    steps: int | None = None  # where given, as many whole epochs as hold this many steps, instead of `epochs`
    batch_size: int = 16
    learning_rate: float = 1e-4
    drop_factor: float = 0.5
    drop_every: float = 5.0  # in `drop_unit`
    drop_unit: str = "epochs"  # or "steps"
    schedule: str = "steps"  # or "cosine", from the learning rate to a hundredth of it at the end, without drops
    warmup: float = 0.0  # epochs in which the learning rate rises from 0
    clip_norm: float | None = None  # greatest norm of the gradient of each weight tensor
    average: float | None = None  # momentum of the moving average of the weights that is validated and saved
    balance: float = 0.0  # 0: each sample once an epoch; 1: rare expressions and poses as often as common ones
    identities: int | None = None  # identity components of a morphable network; None: all that the fits have
    precision: str = "float32"
    seed: int = 0
    terms: LossTerms = field(default_factory=LossTerms)
    photo: PhotoTerms = field(default_factory=PhotoTerms)
    augmentation: Augmentation = field(default_factory=Augmentation)


@dataclass(frozen=True)
class Run:
    """How a training run is carried out: none of it is part of what the run means, so a run may resume with another."""

    workers: int = 2  # threads that prepare batches
    devices: int = 1  # of each process
    machines: str | None = None  # HOST:PORT of the first of several processes, which may be on several machines
    processes: int = 1
    process: int = 0  # which of them this is; the first alone writes
    jit: str = "auto"  # XLA: "on", "off", or "auto", which is on where there is a GPU
    server: str | None = None  # address that the log of each epoch is posted to

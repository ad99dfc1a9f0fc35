"""The training function: a data set, a face model and settings in; models, log and curves in a folder out."""

import dataclasses
import logging
import math
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import keras
import numpy as np

from prnet.common.errors import UserError
from prnet.common.progress import Poster
from prnet.configure.config import CAMERAS, NETWORKS, OUTLIERS, PHOTO_NETWORKS, RENDERINGS, Run, Training
from prnet.generating.dataset import LANDMARKS_ALONE, Dataset
from prnet.geometry.face_model import FaceModel
from prnet.geometry.position_map import MapBasis, layout_of_model, map_basis
from prnet.geometry.uv_layout import UVLayout
from prnet.model.appearance import albedo_space, prior_face_space
from prnet.model.callbacks import AverageSwap, Companion, Keeper
from prnet.model.checkpoint import State, restore_checkpoint
from prnet.model.compilation import MapTraining, begin_averages, compiled_network, epochs_of
from prnet.model.devices import data_parallel, from_first, telling_of_lost_processes
from prnet.model.face_space import FaceSpace, face_space
from prnet.model.feeds import Feeds, learned_scores, open_feeds
from prnet.model.monitoring import StepMonitor
from prnet.model.networks import BUILDERS, build_network
from prnet.model.photo_feeds import open_photo_feeds
from prnet.model.photo_keeper import PhotoKeeper
from prnet.model.photo_training import compiled_photo_network, load_recognition
from prnet.model.run_folder import CHECKPOINT, claimed_folder, run_record
from prnet.model.transfer import Start, begin_with, face_space_of, open_start

logger = logging.getLogger(__name__)

POSITIVE = ("epochs", "steps", "batch_size", "learning_rate", "drop_factor", "drop_every", "clip_norm", "identities")
BOUNDS = {"warmup": (0, math.inf), "balance": (0, 1)}
"""Settings above 0, and those between two numbers, each where it is given."""


def train(
    training: Training,
    run: Run,
    dataset: Dataset,
    face_model: FaceModel,
    folder,
    *,
    test_set: Dataset | None = None,
    start_from=None,
    start_epoch: int = 0,
    overwrite: bool = False,
) -> list[dict]:
    """Train a network, or resume a run that stopped, and return the log: one dictionary an epoch.

    The folder gets best.keras (lowest NME on the validation samples) and last.keras, checkpoint.npz to resume from,
    config.json, training.csv, training.png, samples.png and TensorBoard's event files. test_set : reported each epoch,
    selects nothing. start_from : a `.keras` file whose weights to begin with, counted as `start_epoch` finished
    epochs. overwrite : begin again in a folder that holds another run. Of several processes (`Run.processes`) only the
    first needs the folder, and only its log has the epochs that follow.
    """
    folder = Path(folder)
    _check(training, run, dataset, face_model, test_set)
    first = run.process == 0

    with data_parallel(run) as scope, telling_of_lost_processes(run):  # before anything makes the backend start
        start = None if start_from is None else open_start(start_from)
        data = (training, run, dataset, face_model, test_set)
        task = _photo_task(*data) if training.network in PHOTO_NETWORKS else _map_task(*data, start)
        feeds, layout = task.feeds, task.layout
        training = dataclasses.replace(training, augmentation=feeds.training.augmentation)
        record = run_record(training, run, dataset, face_model, start_from, start_epoch)
        saved = task.build()
        if start is not None:
            begin_with(saved, start, layout)
        with claimed_folder(folder, record, overwrite) if first else nullcontext(False) as resuming:
            network = task.compiled(scope)
            path = folder / CHECKPOINT
            checkpoint = from_first(path.read_bytes() if resuming else b"", run)
            if checkpoint:
                state = restore_checkpoint(path, network, checkpoint)
                logger.info(f"resuming after epoch {state['epoch']}")
            else:
                given = None if start_from is None else saved
                state = _begin(network, given, start_epoch, len(feeds.training))
            monitor = StepMonitor(feeds.training, epochs_of(training, len(feeds.training)), shown=first)
            keeper: keras.callbacks.Callback = Companion(feeds.test)
            if first:
                saved.set_weights(network.network.get_weights())
                poster = Poster(run.server)
                parts = (folder, saved, layout, state, monitor, task.loss, feeds.shown, feeds.test, poster)
                keeper = task.keeper(network, *parts)
                if resuming:
                    keeper.draw()  # a run may have been killed between its checkpoint and these
            _fit(network, feeds, training, monitor, keeper, folder, state)
    return state["rows"]


@dataclasses.dataclass(frozen=True)
class Task:
    """What a kind of network learns from, and how it is made ready."""

    feeds: Feeds
    layout: UVLayout  # saved with the network
    loss: str  # the name of its column in the log
    build: Callable[[], keras.Model]  # the network that is saved, with fresh weights
    compiled: Callable[..., keras.Model]  # the one that trains, from the scope of its devices
    keeper: Callable[..., Keeper]  # from the one that trains, and what a `Keeper` takes


def _map_task(
    training: Training,
    run: Run,
    dataset: Dataset,
    face_model: FaceModel,
    test_set: Dataset | None,
    start: Start | None,
) -> Task:
    """Of networks that learn from position maps."""
    layout = layout_of_model(face_model)
    fits_are_stored = any(data.stores_fits for data in (dataset, test_set) if data is not None)
    basis = map_basis(face_model, training.image_size) if fits_are_stored else None
    feeds = open_feeds(training, run, dataset, face_model, basis, test_set)
    space = _face_space(training, dataset, face_model, basis, layout, start)
    if space is not None:  # what is saved of faces are statistics of the training set, not the face model's mean
        layout = dataclasses.replace(layout, canonical_map=space.canonical_map)
    return Task(
        feeds,
        layout,
        training.loss,
        build=lambda: build_network(
            training.network, training.image_size, training.head, decoder=training.decoder, space=space
        ),
        compiled=lambda scope: compiled_network(training, run, layout, space, len(feeds.training), scope),
        keeper=lambda _, *parts: Keeper(*parts),
    )


def _photo_task(
    training: Training, run: Run, dataset: Dataset, face_model: FaceModel, test_set: Dataset | None
) -> Task:
    """Of networks that learn from photos and their landmarks alone (docs/weak.md)."""
    layout = layout_of_model(face_model)
    space = prior_face_space(face_model, map_basis(face_model, training.image_size), layout)
    albedos = albedo_space(face_model, space)
    recognition = None if training.photo.recognition is None else load_recognition(training.photo.recognition)
    side = None if recognition is None else recognition.input_shape[1]
    feeds = open_photo_feeds(training, run, dataset, face_model, test_set, side)

    def build() -> keras.Model:
        keras.utils.set_random_seed(training.seed)
        return build_network(
            training.network,
            training.image_size,
            decoder=training.decoder,
            space=space,
            albedos=albedos,
            camera=training.photo.camera,
        )

    return Task(
        feeds,
        layout,
        "loss",
        build,
        compiled=lambda _: compiled_photo_network(training, run, layout, build(), len(feeds.training), recognition),
        keeper=PhotoKeeper,
    )


def _check(training: Training, run: Run, dataset: Dataset, face_model: FaceModel, test_set: Dataset | None) -> None:
    for data in filter(None, (dataset, test_set)):
        if data.model_identity != face_model.identity:
            raise UserError(
                f"{data.path}: built with the face model {data.model_identity}, not with this one "
                f"({face_model.identity}, {face_model.source}); give the one it was built with as `face_model`"
            )
    for name in POSITIVE:
        value = getattr(training, name)
        if value is not None and not value > 0:
            raise UserError(f"{name.replace('_', ' ')} {value}: must be above 0")
    for name, (low, high) in BOUNDS.items():
        value = getattr(training, name)
        if value is not None and not low <= value <= high:
            raise UserError(f"{name} {value}: must be from {low} to {high}")
    if training.average is not None and not 0 < training.average < 1:
        raise UserError(f"average {training.average}: must be between 0 and 1")
    for data in filter(None, (dataset, test_set)):
        if training.network not in PHOTO_NETWORKS and data.data_mode == LANDMARKS_ALONE:
            raise UserError(
                f"{data.path}: holds photos and landmarks alone, which {training.network} does not learn from; "
                "give `network` photonet (the recipe weak)"
            )
    if training.warmup and training.schedule != "cosine":
        raise UserError(f"`warmup` {training.warmup}: belongs to a cosine; give `schedule` cosine, or leave it out")
    if training.network not in BUILDERS and training.head != "linear":
        raise UserError(f"`head` {training.head}: {training.network} has none; leave it out")
    if training.network == "morphnet" and training.image_size != NETWORKS["morphnet"]:
        raise UserError(f"`image_size` {training.image_size}: morphnet takes {NETWORKS['morphnet']}; leave it out")
    if training.network in PHOTO_NETWORKS:
        _check_photo_terms(training, run)
    if run.workers < 1 or run.devices < 1:
        raise UserError(f"workers {run.workers}, devices {run.devices}: must be at least 1")
    if not 0 <= run.process < run.processes:
        raise UserError(f"`process` {run.process}: must be from 0 to {run.processes - 1}, one less than `processes`")
    if training.batch_size % (run.processes * run.devices):
        processes = f"{run.processes} processes of " if run.processes > 1 else ""
        raise UserError(f"batch size {training.batch_size} does not divide among {processes}{run.devices} devices")
    count = int(np.count_nonzero(~dataset.validation))
    if training.batch_size > count:
        raise UserError(
            f"{dataset.path}: {count} training samples are less than one batch of {training.batch_size}; "
            "lower `batch_size`"
        )


def _check_photo_terms(training: Training, run: Run) -> None:
    for setting, given in (("balance", training.balance), ("identities", training.identities)):
        if given:
            raise UserError(f"`{setting}` {given}: {training.network} does not take it; leave it out")
    for name, value, known in (
        ("rendering", training.photo.rendering, RENDERINGS),
        ("camera", training.photo.camera, CAMERAS),
        ("outliers", training.photo.outliers, OUTLIERS),
        ("precision", training.precision, ("float32",)),
        ("devices", run.devices, (1,)),
        ("processes", run.processes, (1,)),
    ):
        if value not in known:
            choices = ", ".join(map(str, known))
            raise UserError(f"`{name}` {value}: {training.network} takes {choices}")


def _face_space(
    training: Training,
    dataset: Dataset,
    face_model: FaceModel,
    basis: MapBasis | None,
    layout: UVLayout,
    start: Start | None,
) -> FaceSpace | None:
    """Statistics of the training samples' fits for a morphable network, or those of the one that it starts from."""
    if training.network != "morphnet":
        return None
    if basis is None or not dataset.stores_fits:
        raise UserError(
            f"{dataset.path}: holds maps (data mode {dataset.data_mode}); morphnet learns from fits, data mode 5"
        )
    fits = np.asarray(dataset.coefficients)[~dataset.validation]
    given = None if start is None else face_space_of(start, layout, training.image_size, training.identities)
    space = given or face_space(face_model, basis, layout, fits, training.identities)
    if not space.identity_count:
        raise UserError(f"{dataset.path}: its fits show one identity; morphnet learns from photos of several people")
    return dataclasses.replace(space, scores=learned_scores(training, dataset))


def _begin(network: MapTraining, given: keras.Model | None, start_epoch: int, steps_per_epoch: int) -> State:
    """Give the network the weights of another, counted as so many epochs; None leaves it as it was made."""
    if given is not None:
        network.network.set_weights(given.get_weights())
        network.optimizer.iterations.assign(start_epoch * steps_per_epoch)
        begin_averages(network)
    return {"epoch": start_epoch, "best": None, "rows": []}


def _fit(
    network: MapTraining,
    feeds: Feeds,
    training: Training,
    monitor: StepMonitor,
    keeper: keras.callbacks.Callback,
    folder: Path,
    state: State,
) -> None:
    """Run the epochs that are left; of a sample that cannot be read, raise its own error."""
    if state["epoch"] >= monitor.epochs:
        logger.info(f"{folder}: already trained for {state['epoch']} epochs; ask for more with `epochs`")
        return
    averaging = [] if training.average is None else [AverageSwap(resumed=bool(state["rows"]))]
    try:
        if keras.backend.backend() != "tensorflow":
            # `fit` would build the metrics with a batch of the sequence's threads, which then is lost: every later
            # batch would come one too late (Keras 3.15, `PyDataset` with more than one worker).
            network._symbolic_build(data_batch=feeds.training[0])
        network.fit(
            feeds.training,
            validation_data=feeds.validation,
            epochs=monitor.epochs,
            initial_epoch=state["epoch"],
            callbacks=[monitor, *averaging, keeper],
            shuffle=False,
            verbose=0,
        )
    except Exception:
        if feeds.failure is not None:
            raise feeds.failure from None
        raise
    finally:
        monitor.bar.close()  # an error begins a line of its own
    lowest = math.nan if state["best"] is None else state["best"]
    logger.info(f"{folder}: lowest validation NME {lowest:.2f} %; best.keras, last.keras, training.csv, training.png")

"""What happens after each epoch: models, checkpoint, log, curves and pictures are written."""

import logging
import math
import time
from datetime import timedelta

import keras
import numpy as np
from keras import ops

from prnet.configure.config import TARGET_SCALE
from prnet.model.checkpoint import save_checkpoint
from prnet.model.reports import draw_curves, draw_samples, write_log, write_picture
from prnet.model.run_folder import CHECKPOINT, EVENTS
from prnet.model.saved_network import save_network
from prnet.model.tensorboard_log import TensorBoardLog

logger = logging.getLogger(__name__)


class Keeper(keras.callbacks.Callback):
    """After each epoch: keeps the models and a checkpoint, and reports.

    saved : the network in float32 without distribution, which takes over the trained weights and is what is written.
    The checkpoint comes after the models, so a run stopped in between does the epoch again and writes the same.
    """

    def __init__(self, folder, saved, layout, state, monitor, loss, shown, test, poster):
        super().__init__()
        self.folder, self.saved, self.layout, self.state = folder, saved, layout, state
        self.monitor, self.loss, self.test, self.poster = monitor, loss, test, poster
        self.images, self.targets = shown

    def on_train_begin(self, logs=None):
        self.board = TensorBoardLog(self.folder / EVENTS)

    def on_epoch_begin(self, epoch, logs=None):
        self.begun = time.perf_counter()
        self.learning_rate = float(f"{float(ops.convert_to_numpy(self.model.optimizer.learning_rate)):.6g}")

    def on_epoch_end(self, epoch, logs=None):
        test = {}
        if self.test is not None:
            test["test_nme"] = self.model.evaluate(self.test, verbose=0, return_dict=True)["nme"]
        measured = {
            name: logs[name] for part in ("", "val_") for name in (f"{part}loss", f"{part}{self.loss}", f"{part}nme")
        }
        row = {"epoch": epoch + 1, **measured, **test, "learning_rate": self.learning_rate, **self.monitor.figures}
        best, state = self.state["best"], self.state
        improved = math.isfinite(row["val_nme"]) and (best is None or row["val_nme"] < best)
        state.update(epoch=epoch + 1, best=row["val_nme"] if improved else best, rows=[*state["rows"], row])

        self.saved.set_weights(self.model.network.get_weights())
        if improved:
            save_network(self.saved, self.layout, self.folder / "best.keras")
        save_network(self.saved, self.layout, self.folder / "last.keras")
        save_checkpoint(self.folder / CHECKPOINT, self.model, state)

        picture = self.draw()
        self.board.write(epoch + 1, {key: value for key, value in row.items() if key != "epoch"}, {"samples": picture})
        progress = {"run": str(self.folder), "stage": "training", "done": epoch + 1, "total": self.monitor.epochs}
        self.poster.post("/publish/epoch/end/", row | progress)
        left = timedelta(seconds=round((self.monitor.epochs - epoch - 1) * (time.perf_counter() - self.begun)))
        logger.info(_summary(row, self.monitor.epochs, improved, left))

    def on_train_end(self, logs=None):
        self.board.close()

    def draw(self) -> np.ndarray:
        """Write the log, its curves and the samples' picture as of the last finished epoch; returns the picture."""
        unit = self.images.shape[1] * TARGET_SCALE
        maps = ops.convert_to_numpy(self.saved(self.images, training=False))
        picture = draw_samples(self.images, self.targets * unit, maps * unit, self.layout)
        write_log(self.folder / "training.csv", self.state["rows"])
        draw_curves(self.folder / "training.png", self.state["rows"], self.loss)
        write_picture(self.folder / "samples.png", picture)
        return picture


class AverageSwap(keras.callbacks.SwapEMAWeights):
    """Puts the averages in place of the weights after each epoch, and back before the next.

    resumed : from a checkpoint, which is written between the two.
    """

    def __init__(self, resumed: bool):
        super().__init__(swap_on_epoch=True)
        self._ema_weights_in_model = resumed

    def _finalize_ema_values(self):
        """Keras would overwrite the weights with the averages in the last epoch: a run may be given more of them."""


class Companion(keras.callbacks.Callback):
    """Beside the first process's `Keeper`: takes part in what it measures, and writes nothing."""

    def __init__(self, test):
        super().__init__()
        self.test = test

    def on_epoch_end(self, epoch, logs=None):
        if self.test is not None:
            self.model.evaluate(self.test, verbose=0)


def _summary(row: dict, epochs: int, improved: bool, left: timedelta) -> str:
    test = f", test NME {row['test_nme']:.2f} %" if "test_nme" in row else ""
    return (
        f"epoch {row['epoch']}/{epochs}: loss {row['loss']:.4g}, NME {row['nme']:.2f} %, "
        f"validation NME {row['val_nme']:.2f} %{' (best)' if improved else ''}{test}, "
        f"{row['images_per_second']:.0f} images/s, {row['waiting']:.0%} of the time waiting for data, {left} left"
    )

"""Scalars and pictures for TensorBoard, written with the `tensorboard` package alone, whatever the backend."""

import logging
import time

import numpy as np

from prnet.formats.encoding import encode_png

logger = logging.getLogger(__name__)


class TensorBoardLog:
    """Event files in a folder; where it cannot be, one line says why and nothing is written."""

    def __init__(self, folder):
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError:
            logger.warning("TensorBoard is not installed (pip install tensorboard): no event files")
            self._writer = None
            return
        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        try:
            self._writer = EventFileWriter(str(folder))
        except UnicodeEncodeError:
            logger.warning("TensorBoard takes no folder whose name is not UTF-8: no event files")
            self._writer = None

    def write(self, step: int, scalars: dict[str, float], pictures: dict[str, np.ndarray]) -> None:
        """Values of one epoch. pictures : RGB uint8."""
        if self._writer is None:
            return
        values = [self._summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        for name, picture in pictures.items():
            height, width, channels = picture.shape
            image = self._summary.Image(
                height=height, width=width, colorspace=channels, encoded_image_string=encode_png(picture)
            )
            values.append(self._summary.Value(tag=name, image=image))
        self._writer.add_event(self._event(wall_time=time.time(), step=step, summary=self._summary(value=values)))
        self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

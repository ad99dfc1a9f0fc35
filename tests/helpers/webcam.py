"""A webcam that shows a face, and a host for static files: what live mode needs in a test."""

import functools
import http.server
import threading
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from skimage.data import astronaut

WIDTH, HEIGHT, FRAMES = 320, 240, 12


def portrait() -> np.ndarray:
    return astronaut()[:300, 80:380]


def write_webcam(path: Path) -> Path:
    """A video in the form that Chromium's fake webcam plays in a loop: a face that moves to and fro.
    Returns the path."""
    face = cv2.resize(portrait(), (HEIGHT, HEIGHT))
    with open(path, "wb") as file:
        file.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F15:1 Ip A1:1 C420jpeg\n".encode())
        for shift in 8 * np.sin(np.linspace(0, 2 * np.pi, FRAMES, endpoint=False)):
            to_frame = np.float32([[1, 0, 40 + shift], [0, 1, 0]])
            frame = cv2.warpAffine(face, to_frame, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
            file.write(b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420).tobytes())
    return path


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def file_host(folder):
    """The address of a plain file host for a folder, on a free port of the loopback interface."""
    handler = functools.partial(Silent, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as host:
        thread = threading.Thread(target=host.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{host.server_port}/"
        finally:
            host.shutdown()
            thread.join()

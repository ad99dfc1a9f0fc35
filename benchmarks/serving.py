"""The server under the load of eight clients at once, against the network alone at the same batch size, both in ONNX
Runtime."""

import http.client
import multiprocessing
import resource
import socket
import statistics
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure

CLIENTS = BATCH = 8
ROUNDS = 3
LOAD_SECONDS, ALONE_SECONDS = 10.0, 5.0
"""Of each round: eight clients send photos with the face's box; then the network runs on crops that lie ready."""

BOX = "170,70,110,150"


def measure() -> list[Figure]:
    from prnet.exporting.export import export_network
    from prnet.generating.samples.model import make_sample_model
    from prnet.geometry.position_map import layout_of_model
    from prnet.model.networks import build_network
    from prnet.reconstructing.reconstructor import FaceReconstructor
    from prnet.serving.application import build_application
    from prnet.serving.engine import warm_up

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prnet.onnx"
        export_network(build_network("prnet", 256), layout_of_model(make_sample_model()), path, "onnx")
        reconstructor = FaceReconstructor(path, "none")
    warm_up(reconstructor, BATCH)
    crops = np.random.default_rng(0).random((BATCH, 256, 256, 3), dtype=np.float32)
    for count in range(1, BATCH):  # the framework prepares itself for each batch size that it meets
        reconstructor.predict(crops[:count])

    ratios, rates, latencies, statuses, memory = [], [], [], set(), []
    with (
        _listening(build_application(reconstructor, batch_size=BATCH)) as port,
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as clients,
    ):
        clients.submit(load, port, 2.0).result()
        for _ in range(ROUNDS):
            answers = clients.submit(load, port, LOAD_SECONDS).result()
            rate = sum(status == 200 for status, _ in answers) / LOAD_SECONDS
            ratios.append(rate / _alone(reconstructor, crops))
            rates.append(rate)
            latencies += [seconds for _, seconds in answers]
            statuses |= {status for status, _ in answers}
            memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return [
        Figure("photos a second, 8 clients, box given, landmarks only", statistics.median(rates), "1/s"),
        Figure("of what prnet alone does at batch 8", statistics.median(ratios), "x", at_least=0.9),
        Figure("95th percentile of the latency", 1000 * float(np.quantile(latencies, 0.95)), "ms"),
        Figure("answers other than 200 and 503", len(statuses - {200, 503}), "kinds", at_most=0),
        Figure("memory grown from the second round to the last", memory[-1] - memory[1], "MiB", at_most=50),
    ]


def load(port: int, seconds: float) -> list[tuple[int, float]]:
    """Status and latency of every request that eight clients send one after the other for a while."""
    body, headers = _request()
    end = time.monotonic() + seconds

    def client(_):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        answers = []
        while (start := time.monotonic()) < end:
            connection.request("POST", "/v1/reconstructions", body, headers)
            with connection.getresponse() as response:
                response.read()
                answers.append((response.status, time.monotonic() - start))
        connection.close()
        return answers

    with ThreadPoolExecutor(CLIENTS) as threads:
        return [answer for answers in threads.map(client, range(CLIENTS)) for answer in answers]


def _request() -> tuple[bytes, dict[str, str]]:
    from skimage.data import astronaut

    from prnet.formats.encoding import encode_jpeg

    photo = encode_jpeg(astronaut(), 90)
    part = '--x\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n'
    body = part.format("box", "").encode() + BOX.encode() + b"\r\n"
    body += part.format("photo", '; filename="photo.jpg"').encode() + photo + b"\r\n--x--\r\n"
    return body, {"Content-Type": "multipart/form-data; boundary=x"}


def _alone(reconstructor, crops: np.ndarray) -> float:
    """Crops a second."""
    start, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < ALONE_SECONDS:
        reconstructor.predict(crops)
        count += len(crops)
    return count / passed


@contextmanager
def _listening(app):
    """The port of a server in a thread of this process."""
    from prnet.serving.server import http_server

    server = http_server(app)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()

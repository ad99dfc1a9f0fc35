"""Live mode in headless Chromium: frames a second, and the time of the network beside the native runtime's."""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure, median_ratio, seconds

ROUNDS = 7
NETWORK_CALLS = 20
LIVE_SECONDS = 10.0

CALLS = """(async () => {
    const { start, faceOfCrop } = await import("./static/network.js");
    const { face } = await start();
    const times = [];
    for (let call = 0; call < %d; call++) {
        const floats = new Float32Array(face.size * face.size * 3).fill(0.5);
        const { seconds } = await faceOfCrop(floats, { centre: [300, 200], side: 150 }, { width: 640, height: 480 });
        times.push(seconds.network);
    }
    return times;
})()"""


def measure() -> list[Figure]:
    from prnet.exporting.web import NETWORK
    from prnet.model.saved_network import load_network
    from prnet.reconstructing.settings import MODEL_PATH
    from prnet.serving.site import write_site
    from tests.helpers.browser import Browser
    from tests.helpers.webcam import file_host, write_webcam

    with tempfile.TemporaryDirectory() as folder:
        site = write_site(*load_network(MODEL_PATH), Path(folder) / "site")
        webcam = write_webcam(Path(folder) / "webcam.y4m")
        flags = [f"--use-file-for-fake-video-capture={webcam}"]
        with file_host(site) as address:
            with Browser(Path(folder) / "still") as browser:
                browser.open(address)
                in_browser, native = _times_in_turn(browser, site / "live" / NETWORK)
            rates = []
            for number, drawing in enumerate(([], ["--disable-3d-apis"])):
                with Browser(Path(folder) / f"live{number}", flags=[*flags, *drawing]) as browser:
                    browser.open(address)
                    rates.append(_live_rate(browser))
    return [
        Figure("network in the browser, one thread, a crop", 1000 * min(in_browser), "ms at best"),
        Figure("the same file, native, one thread", 1000 * min(native), "ms at best"),
        Figure("browser over native", median_ratio(in_browser, native), "x"),
        Figure("live, landmarks and mask by software WebGL", rates[0], "frames/s"),
        Figure("live, landmarks alone: without WebGL", rates[1], "frames/s", at_least=20),
    ]


def _times_in_turn(browser, path: Path) -> tuple[list[float], list[float]]:
    """Medians of each round, in seconds; the network in the browser and out of it in turn."""
    import onnxruntime

    from prnet.model.runtimes import DECODER

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    size, name = session.get_inputs()[0].shape[1], session.get_inputs()[0].name
    crop = np.full((1, size, size, 3), 0.5, np.float32)
    asked = [output.name for output in session.get_outputs() if output.name not in DECODER]

    def native() -> float:
        return statistics.median(seconds(lambda: session.run(asked, {name: crop})) for _ in range(NETWORK_CALLS))

    def in_browser() -> float:
        return statistics.median(browser.run(CALLS % NETWORK_CALLS))

    in_browser(), native()
    pairs = [(in_browser(), native()) for _ in range(ROUNDS)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def _live_rate(browser) -> float:
    browser.wait_for("document.body.dataset.ready === ''")
    browser.run("document.querySelector('[data-action=live]').click()")
    browser.wait_for("document.body.dataset.live > 5")
    frames = browser.run("Number(document.body.dataset.live)")
    start = time.perf_counter()
    time.sleep(LIVE_SECONDS)
    return (browser.run("Number(document.body.dataset.live)") - frames) / (time.perf_counter() - start)

"""The page as a static build, in a real browser and from a plain file host: photos and webcam without our server."""

import json
import shutil

import httpx
import numpy as np
import pytest

from prnet.common.errors import UserError
from prnet.model.saved_network import load_network
from prnet.reconstructing.face import prepare_crop
from prnet.reconstructing.quality import judge
from prnet.reconstructing.reconstructor import FaceReconstructor
from prnet.reconstructing.settings import MODEL_PATH
from prnet.serving.application import build_application
from prnet.serving.site import write_site
from tests.helpers.browser import Browser, find_chromium
from tests.helpers.serving_stand_in import image_file, listening, mean_face_reconstructor
from tests.helpers.webcam import file_host, portrait, write_webcam

pytest.importorskip("tf2onnx", reason="files for browsers need onnx, tf2onnx and onnxruntime")
needs_browser = pytest.mark.skipif(
    find_chromium() is None, reason="Chromium is not installed (Debian: apt-get install chromium)"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return write_site(*load_network(MODEL_PATH), tmp_path_factory.mktemp("site") / "page")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    flags = [f"--use-file-for-fake-video-capture={write_webcam(folder / 'webcam.y4m')}"]
    with Browser(folder / "profile", flags=flags) as browser:
        yield browser


def open_page(browser, address) -> None:
    browser.open(address)
    browser.wait_for("document.body.dataset.ready === ''")


def loaded(browser) -> list[str]:
    return browser.run("performance.getEntriesByType('resource').map((entry) => entry.name)")


def choices_are_there(browser) -> bool:
    return browser.run("""["pick", "webcam", "live"].every((name) => {
        const { width, height } = document.querySelector(`[data-action=${name}]`).getBoundingClientRect();
        return width > 40 && height > 20;
    })""")


def downloaded(browser, label: str) -> str:
    """The text of the file that a download offers."""
    return browser.run(f"""(async () => {{
        const links = [...document.querySelectorAll("#downloads a")];
        return (await fetch(links.find((link) => link.textContent.startsWith("{label}")).href)).text();
    }})()""")


def test_the_build_holds_what_it_needs_and_nothing_of_the_server(site):
    html = (site / "index.html").read_text()
    assert 'data-engine="browser"' in html
    assert "'wasm-unsafe-eval'" in html
    assert "frame-ancestors" not in html  # browsers take it from a header only, and complain of it here
    files = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    assert {"live/network.onnx", "live/face.json", "static/worker.js"} <= files
    assert not {name for name in files if "docs" in name or "runs" in name or "server" in name}
    assert any(name.startswith("static/vendor/onnxruntime/") and name.endswith("LICENSE") for name in files)
    with pytest.raises(UserError, match="exists"):
        write_site(None, None, site)


@needs_browser
def test_a_photo_is_reconstructed_in_the_browser_as_by_the_package(browser, site, tmp_path):
    photo = tmp_path / "some one.png"
    photo.write_bytes(image_file(portrait(), "PNG"))
    with file_host(site) as address:
        open_page(browser, address)
        assert not [name for name in loaded(browser) if "onnx" in name], "loaded before it is needed"
        browser.choose_file("#file", photo)
        browser.wait_for("document.body.dataset.mesh === '0'")
        names = browser.run("[...document.querySelectorAll('#downloads a')].map((link) => link.download)")
        found = json.loads(downloaded(browser, "JSON"))
        assert [name for name in loaded(browser) if not name.startswith((address, "blob:"))] == []
    assert names[0] == "some one_face1.glb"
    (face,) = FaceReconstructor().reconstruct(portrait())
    side = face.tracked_box.side
    apart = np.linalg.norm(np.array(found["landmarks"])[:, :2] - face.landmarks[:, :2], axis=1).mean()
    assert apart < 0.02 * side
    for angle in ("pitch", "yaw", "roll"):
        assert found["pose"][angle] == pytest.approx(getattr(face.pose, angle), abs=3)
    crop = prepare_crop(portrait(), face.box, face.grid.size)[0]
    quality = judge(face, crop, *portrait().shape[1::-1])
    assert found["confidence"] == pytest.approx(quality.confidence, abs=0.1)
    assert found["doubts"] == quality.doubts
    assert found["expressions"].keys() == face.expressions.keys()
    apart = [abs(found["expressions"][name] - value) for name, value in face.expressions.items()]
    assert np.mean(apart) < 0.05
    assert browser.errors() == []


@needs_browser
def test_live_mode_follows_the_webcam_and_ends(browser, site):
    with file_host(site) as address:
        open_page(browser, address)
        browser.run("document.querySelector('[data-action=live]').click()")
        browser.wait_for("document.body.dataset.live > 5")
        assert browser.run("document.querySelectorAll('#live-overlay circle').length") == 68
        inside = browser.run("""(() => {
            const stage = document.getElementById("video").getBoundingClientRect();
            return [...document.querySelectorAll("#live-overlay circle")].every((dot) => {
                const { left, right, top, bottom } = dot.getBoundingClientRect();
                return left > stage.left && right < stage.right && top > stage.top && bottom < stage.bottom;
            });
        })()""")
        assert inside
        browser.wait_for("document.querySelectorAll('.bar').length > 50")
        browser.wait_for("document.getElementById('time').textContent.endsWith('/ s')")
        browser.run("document.querySelector('[data-action=leave]').click()")
        assert browser.run("document.getElementById('video').hidden")
        assert choices_are_there(browser)
        at_end = browser.run("document.body.dataset.live ?? null")
        assert at_end is None
        assert [name for name in loaded(browser) if not name.startswith((address, "blob:"))] == []


@needs_browser
def test_a_missing_network_is_said_and_is_no_dead_end(browser, site, tmp_path):
    shutil.copytree(site, tmp_path / "page", ignore=shutil.ignore_patterns("network.onnx"))
    with file_host(tmp_path / "page") as address:
        open_page(browser, address)
        browser.run("document.querySelector('[data-action=live]').click()")
        browser.wait_for("!document.getElementById('message').hidden")
        assert "network.onnx" in browser.run("document.getElementById('message').textContent")
        assert choices_are_there(browser)
        assert browser.run("document.getElementById('video').hidden")


def test_a_network_that_cannot_be_exported_is_said_once_and_not_tried_again(sample_model, tmp_path, monkeypatch):
    tried = []
    monkeypatch.setattr("prnet.serving.pages.web_files", lambda *_: tried.append(1) or 1 / 0)
    with listening(build_application(mean_face_reconstructor(sample_model, tmp_path))) as address:
        for name in ("network.onnx", "face.json"):
            answer = httpx.get(f"{address}/live/{name}")
            assert answer.status_code == 501
            assert "log" in answer.json()["detail"]
        assert httpx.get(f"{address}/live/other").status_code == 404
    assert tried == [1]


@needs_browser
def test_the_server_makes_live_mode_of_its_own_network(browser, sample_model, tmp_path):
    """Also of one without named parameters: a mask without bars."""
    app = build_application(mean_face_reconstructor(sample_model, tmp_path))
    with listening(app) as address:
        open_page(browser, address)
        assert browser.run("crossOriginIsolated"), "threads need an isolated page"
        browser.run("document.querySelector('[data-action=live]').click()")
        browser.wait_for("document.body.dataset.live > 2")
        assert browser.run("document.getElementById('bars').hidden")
        assert browser.run("Math.abs(parseFloat(document.getElementById('yaw').textContent))") < 5

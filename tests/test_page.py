"""The pages in a real browser: what a person does, and what they then see."""

import time

import httpx
import numpy as np
import pytest
import trimesh

from prnet.serving.application import build_application
from tests.helpers.browser import TIMEOUT, Browser, find_chromium
from tests.helpers.serving_stand_in import image_file, listening, mean_face_reconstructor

pytestmark = pytest.mark.skipif(
    find_chromium() is None, reason="Chromium is not installed (Debian: apt-get install chromium)"
)


@pytest.fixture(scope="module")
def reconstructor(sample_model, tmp_path_factory):
    return mean_face_reconstructor(sample_model, tmp_path_factory.mktemp("network"))


@pytest.fixture(scope="module")
def address(reconstructor):
    with listening(build_application(reconstructor)) as address:
        yield address


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    from skimage.data import astronaut

    path = tmp_path_factory.mktemp("photo") / "astronaut.png"
    path.write_bytes(image_file(astronaut()[:300, 80:380], "PNG"))
    return path


def canvas_colours(browser) -> int:
    """How many colours the 3D stage shows, of 64 (two bits a channel): an empty stage has none."""
    return browser.run("""(() => {
        const source = document.getElementById("mesh"), copy = document.createElement("canvas");
        copy.width = copy.height = 128;
        return new Promise((done) => requestAnimationFrame(() => {
            const context = copy.getContext("2d");
            context.drawImage(source, 0, 0, 128, 128);
            const seen = new Set(), pixels = context.getImageData(0, 0, 128, 128).data;
            for (let i = 0; i < pixels.length; i += 4) {
                const [red, green, blue, opacity] = pixels.slice(i, i + 4);
                if (opacity > 250) seen.add((red >> 6) * 16 + (green >> 6) * 4 + (blue >> 6));
            }
            done(seen.size);
        }));
    })()""")


def wait_for_colours(browser, enough) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not enough(colours := canvas_colours(browser)):
        assert time.monotonic() < deadline, f"{colours} colours"


def reconstructed(browser, address, photo) -> None:
    browser.open(address)
    browser.choose_file("#file", photo)
    browser.wait_for("document.body.dataset.mesh === '0'")


def test_a_photo_becomes_landmarks_and_a_mesh_to_download(browser, address, photo, tmp_path):
    browser.open(address)
    assert browser.run("getComputedStyle(document.getElementById('panel')).display") == "none"
    assert canvas_colours(browser) == 0
    reconstructed(browser, address, photo)
    assert browser.run("document.querySelectorAll('#overlay circle').length") == 68
    inside = browser.run("""(() => {
        const stage = document.getElementById("photo-stage").getBoundingClientRect();
        return [...document.querySelectorAll("#overlay circle")].every((dot) => {
            const { left, right, top, bottom } = dot.getBoundingClientRect();
            return left > stage.left && right < stage.right && top > stage.top && bottom < stage.bottom;
        });
    })()""")
    assert inside
    wait_for_colours(browser, lambda count: count > 5)
    browser.screenshot(tmp_path / "face.png")
    links = browser.run("[...document.querySelectorAll('#downloads a')].map((link) => link.href)")
    assert [link.rpartition(".")[2] for link in links] == ["glb", "obj", "ply", "mat", "json"]

    folder = tmp_path / "downloads"
    browser.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    browser.run("document.querySelector('#downloads a').click()")
    path, deadline = folder / "face1.glb", time.monotonic() + TIMEOUT
    while not path.exists():
        assert time.monotonic() < deadline, "nothing was downloaded"
        time.sleep(0.05)
    mesh = trimesh.load(path, force="mesh", process=False)
    assert len(mesh.vertices) > 5000
    assert mesh.visual.material.baseColorTexture.size == (1024, 1024)
    assert browser.errors() == []


def test_the_switches_change_what_is_shown(browser, address, photo):
    reconstructed(browser, address, photo)
    wait_for_colours(browser, lambda count: count > 5)
    browser.run("document.getElementById('show-landmarks').click()")
    assert browser.run("document.querySelectorAll('#overlay circle').length") == 0
    browser.run("document.getElementById('show-wireframe').click()")
    wait_for_colours(browser, lambda count: count <= 2)
    browser.run("document.getElementById('show-wireframe').click()")
    browser.run("document.getElementById('show-depth').click()")
    wait_for_colours(browser, lambda count: count > 3)


def test_the_webcam_takes_a_photo(browser, address):
    browser.open(address)
    browser.run("document.querySelector('[data-action=webcam]').click()")
    browser.wait_for("document.getElementById('video').videoWidth > 0")
    browser.run("document.querySelector('[data-action=capture]').click()")
    browser.wait_for("document.body.dataset.mesh === '0'")
    assert browser.run("document.getElementById('video').hidden")


def test_refusals_are_shown_in_the_servers_words(browser, address, tmp_path, reconstructor, monkeypatch, photo):
    (tmp_path / "text.jpg").write_text("not a face")
    browser.open(address)
    browser.choose_file("#file", tmp_path / "text.jpg")
    browser.wait_for("!document.getElementById('message').hidden")
    assert "not an image" in browser.run("document.getElementById('message').textContent")
    monkeypatch.setattr(reconstructor, "detect", lambda image: [])
    browser.choose_file("#file", photo)
    browser.wait_for("document.getElementById('message').textContent.startsWith('No face')")


def test_measures_may_have_the_names_of_what_every_object_has(browser, address):
    names = ["constructor", "__proto__", "toString", "hasOwnProperty", "val_constructor"]
    measures = {name: number for number, name in enumerate(names)}
    for numbers in ({"loss": 1}, measures):
        httpx.post(f"{address}/publish/epoch/end/", json={"run": "names", **numbers})
    earlier = browser.errors()
    browser.open(f"{address}/runs")
    browser.wait_for("document.querySelectorAll('.chart').length === 5")
    assert browser.run("document.getElementById('message').hidden")
    shown = browser.run("[...document.querySelectorAll('.chart figcaption')].map((each) => each.textContent)")
    assert shown == ["loss 1", "constructor 0val_constructor 4", "__proto__ 1", "toString 2", "hasOwnProperty 3"]
    assert browser.errors() == earlier


@pytest.mark.parametrize("page", ["", "runs", "docs"])
def test_pages_fit_a_phone_and_load_nothing_from_elsewhere(browser, address, photo, page):
    browser.resize(360, 740, phone=True)
    if page:
        httpx.post(f"{address}/publish/epoch/end/", json={"run": "x" * 80, "epoch": 3, "loss": 0.5})
        browser.open(f"{address}/{page}")
        browser.wait_for("document.querySelector('.run, .operation')")
        browser.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    else:
        reconstructed(browser, address, photo)
    wide = browser.run("document.documentElement.scrollWidth")
    browser.resize(1280, 860)
    assert wide <= 360
    loaded = browser.run("performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert [name for name in loaded if not name.startswith((address, "blob:"))] == []


def test_the_progress_page_follows_a_run_and_trusts_no_name(browser, address):
    event = {"run": "<img src=x onerror=document.title='hacked'>", "stage": "training", "total": 10}
    httpx.post(f"{address}/publish/epoch/end/", json={**event, "done": 1, "loss": 0.5, "val_loss": 0.6})
    browser.open(f"{address}/runs")
    browser.wait_for("document.querySelector('.run h2')?.textContent.startsWith('<img')")
    httpx.post(f"{address}/publish/epoch/end/", json={**event, "done": 2, "loss": 0.25, "val_loss": np.pi})
    browser.wait_for("document.querySelector('.run .state').textContent.includes('2 of 10')")
    assert "3.14" in browser.run("document.querySelector('.run figcaption').textContent")
    assert browser.run("document.title") == "PRNet — runs"

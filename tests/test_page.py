"""The pages in a real browser: what a person does, and what they then see."""

import time

import httpx
import numpy as np
import pytest
import trimesh

from prnet.serving.application import build_application
from tests.helpers.browser import TIMEOUT, Browser, find_chromium
from tests.helpers.serving_stand_in import image_file, listening

pytestmark = pytest.mark.skipif(
    find_chromium() is None, reason="Chromium is not installed (Debian: apt-get install chromium)"
)


@pytest.fixture(scope="module")
def address(mean_reconstructor):
    with listening(build_application(mean_reconstructor)) as address:
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
            const seen = new Set(), pixels = context.getImageData(0, 24, 128, 104).data;  // below the gizmo
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


def see(browser, view) -> None:
    browser.run(f"document.querySelector('[name=view][value={view}]').click()")


def open_page(browser, address) -> None:
    browser.open(address)
    browser.wait_for("document.body.dataset.ready === ''")


def reconstructed(browser, address, photo) -> None:
    open_page(browser, address)
    browser.choose_file("#file", photo)
    browser.wait_for("document.body.dataset.mesh === '0'")


def test_a_photo_becomes_landmarks_and_a_mesh_to_download(browser, address, photo, tmp_path):
    browser.open(address)
    assert browser.run("getComputedStyle(document.getElementById('panel')).display") == "none"
    wait_for_colours(browser, lambda count: count == 0)
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
    forms = ["glb", "obj", "ply", "texture", "sheet", "mat", "json", "zip"]
    assert [link.rpartition(".")[2] for link in links] == forms
    assert browser.run("document.getElementById('play').hidden"), "this network names no expressions"

    folder = tmp_path / "downloads"
    browser.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    browser.run("document.querySelector('#downloads a').click()")
    path, deadline = folder / "astronaut_face1.glb", time.monotonic() + TIMEOUT
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
    see(browser, "wireframe")
    wait_for_colours(browser, lambda count: count <= 2)
    for view in ("depth", "map", "texture", "clay"):
        see(browser, view)
        wait_for_colours(browser, lambda count: count > 3)


def test_the_webcam_takes_a_photo(browser, address):
    open_page(browser, address)
    browser.run("document.querySelector('[data-action=webcam]').click()")
    browser.wait_for("document.getElementById('video').videoWidth > 0")
    browser.run("document.querySelector('[data-action=capture]').click()")
    browser.wait_for("document.body.dataset.mesh === '0'")
    assert browser.run("document.getElementById('video').hidden")


def choices_are_there(browser) -> bool:
    """A person can go on: every choice has a place on the screen's page and is at hand."""
    return browser.run("""["pick", "webcam", "live"].every((name) => {
        const { width, height } = document.querySelector(`[data-action=${name}]`).getBoundingClientRect();
        return width > 40 && height > 20;
    }) && document.querySelectorAll("[data-sample]").length === 3""")


def said(browser) -> str:
    browser.wait_for("!document.getElementById('message').hidden")
    return browser.run("document.getElementById('message').textContent")


def centre(browser, selector: str) -> tuple[float, float]:
    return tuple(
        browser.run(f"""(() => {{
            const {{ left, top, width, height }} = document.querySelector("{selector}").getBoundingClientRect();
            return [left + width / 2, top + height / 2];
        }})()""")
    )


def test_what_is_no_image_is_refused_in_the_servers_words_and_the_choices_stay(browser, address, tmp_path):
    (tmp_path / "text.jpg").write_text("not a face")
    open_page(browser, address)
    browser.choose_file("#file", tmp_path / "text.jpg")
    assert "not an image" in said(browser)
    assert choices_are_there(browser)
    assert not browser.run("document.getElementById('welcome').hidden")
    browser.run("document.querySelector('[data-sample]').click()")
    browser.wait_for("document.body.dataset.mesh === '0'")
    assert browser.run("document.getElementById('message').hidden")


@pytest.mark.parametrize("by", ["mouse", "keys"])
def test_a_face_that_is_not_found_is_marked_by_hand(browser, address, mean_reconstructor, monkeypatch, photo, by):
    monkeypatch.setattr(mean_reconstructor, "detect", lambda image: [])
    open_page(browser, address)
    browser.choose_file("#file", photo)
    assert said(browser).startswith("No face")
    assert choices_are_there(browser)
    browser.run("document.querySelector('[data-action=mark]').click()")
    browser.wait_for("document.querySelector('rect.marking')")
    if by == "mouse":
        x, y = centre(browser, "#photo-figure")
        browser.drag((x - 60, y - 80), (x + 60, y + 60))
    else:
        browser.press("ArrowLeft")
        browser.press("Enter")
    browser.wait_for("document.body.dataset.mesh === '0'")
    assert browser.run("document.querySelectorAll('#overlay circle').length") == 68
    assert browser.run("document.getElementById('message').hidden")


def test_marking_can_be_given_up(browser, address, photo):
    reconstructed(browser, address, photo)
    browser.run("document.querySelector('[data-action=mark]').click()")
    browser.wait_for("document.querySelector('rect.marking')")
    browser.press("Escape")
    browser.wait_for("document.querySelectorAll('#overlay circle').length === 68")
    assert browser.run("document.getElementById('message').hidden")


def test_a_server_that_is_gone_is_said_and_asked_again(browser, mean_reconstructor, photo):
    with listening(build_application(mean_reconstructor)) as address:
        open_page(browser, address)
    browser.choose_file("#file", photo)
    assert "does not answer" in said(browser)
    assert choices_are_there(browser)
    assert not browser.run("document.getElementById('retry').hidden")
    assert not browser.run("document.getElementById('photo-figure').hidden")


@pytest.mark.parametrize("action", ["webcam", "live"])
def test_a_refused_webcam_is_said_and_is_no_dead_end(browser, address, action):
    open_page(browser, address)
    browser.run(
        """navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("", "NotAllowedError"))"""
    )
    browser.run(f"document.querySelector('[data-action={action}]').click()")
    assert "allow it" in said(browser)
    assert choices_are_there(browser)
    browser.run("document.querySelector('[data-sample]').click()")
    browser.wait_for("document.body.dataset.mesh === '0'")


def test_the_keyboard_turns_the_mesh_and_the_light_is_dragged(browser, address, photo):
    reconstructed(browser, address, photo)
    browser.run("document.getElementById('show-turn').click()")
    browser.run("document.getElementById('mesh').focus()")
    before = picture(browser)
    browser.press("ArrowRight")
    browser.wait_for(f"({SCREEN}) !== '{before}'")
    see(browser, "clay")
    browser.wait_for("!document.getElementById('light').hidden")
    place = centre(browser, "#light")
    before = picture(browser)
    browser.drag(place, (place[0] + 200, place[1] + 120))
    assert centre(browser, "#light") == pytest.approx((place[0] + 200, place[1] + 120), abs=3)
    browser.wait_for(f"({SCREEN}) !== '{before}'")


SCREEN = "document.getElementById('mesh').dataset.seen"
"""What the 3D stage was drawn with last: where the camera and the light stand."""


def picture(browser) -> str:
    return browser.run(SCREEN)


def test_the_stage_takes_the_photos_shape(browser, address, tmp_path):
    path = tmp_path / "wide.png"
    path.write_bytes(image_file(np.full((120, 240, 3), 128, np.uint8), "PNG"))
    reconstructed(browser, address, path)
    shape = browser.run("""(() => {
        const { width, height } = document.getElementById("photo-stage").getBoundingClientRect();
        return width / height;
    })()""")
    assert shape == pytest.approx(2, rel=0.02)


def test_a_confidence_is_shown_and_a_doubt_is_said(browser, address, tmp_path):
    path = tmp_path / "grey.png"
    path.write_bytes(image_file(np.full((120, 120, 3), 128, np.uint8), "PNG"))
    reconstructed(browser, address, path)
    assert browser.run("document.getElementById('confidence').textContent").endswith("%")
    assert "blurred" in browser.run("document.getElementById('doubts').textContent")


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


@pytest.mark.parametrize(
    ("low", "high"), [(-5e-324, 5e-324), (0.0, 5e-324), (-1.7e308, 1.7e308), (1.0, 1.0 + 2**-52), (5e-324, 1.7e308)]
)
@pytest.mark.parametrize("key", ["loss", "done"])
def test_a_chart_of_any_numbers_is_drawn(browser, address, key, low, high):
    """One whose ticks could not be told apart kept the page from showing any run."""
    for number in (low, high):
        event = {"run": "extremes", "stage": f"{key} {low} {high}", "loss": 1.0, key: number}
        httpx.post(f"{address}/publish/epoch/end/", json=event)
    earlier = browser.errors()
    browser.open(f"{address}/runs")
    browser.wait_for("document.querySelector('.run .chart polyline')")
    assert browser.run("document.getElementById('message').hidden")
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


def test_a_chart_has_axes_units_and_says_its_values(browser, address):
    for epoch in range(1, 13):
        event = {"run": "axes", "stage": "training", "done": epoch, "nme": 10 / epoch, "images_per_second": 100 + epoch}
        httpx.post(f"{address}/publish/epoch/end/", json=event)
    browser.resize(1280, 860)
    browser.open(f"{address}/runs")
    browser.wait_for("document.querySelector('.run h2')?.textContent === 'axes'")
    chart = "[...document.querySelectorAll('.chart')].find((each) => each.textContent.startsWith('nme'))"
    ticks = browser.run(f"[...({chart}).querySelectorAll('small.y')].map((tick) => Number(tick.textContent))")
    assert ticks[0] <= 10 / 12
    assert ticks[-1] >= 10
    assert ticks == sorted(set(ticks))
    assert browser.run(f"[...({chart}).querySelectorAll('small.x')].length") >= 2
    assert browser.run(f"({chart}).querySelector('.axis').textContent") == "epochs"
    captions = browser.run("[...document.querySelectorAll('.run figcaption')].slice(0, 2).map((c) => c.textContent)")
    assert captions == ["nme 0.833 %", "images_per_second 112 images/s"]
    left, top, height = browser.run(f"""(() => {{
        const {{ left, top, height }} = ({chart}).querySelector("svg").getBoundingClientRect();
        return [left, top, height];
    }})()""")
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=left + 2, y=top + height / 2, button="none")
    browser.wait_for(f"({chart}).querySelector('figcaption').textContent === 'nme 10 %epoch 1'")

"""The page as a static build, in a real browser and from a plain file host: photos and webcam without our server."""

import base64
import io
import json
import shutil
from dataclasses import dataclass

import httpx
import numpy as np
import pytest
import trimesh
from PIL import Image

from prnet.common.errors import UserError
from prnet.geometry.surface_filter import smooth_map
from prnet.model.saved_network import load_network
from prnet.reconstructing.face import prepare_crop
from prnet.reconstructing.gltf import glb_bytes
from prnet.reconstructing.mesh_files import face_mesh, file_notes, mesh_part
from prnet.reconstructing.quality import judge
from prnet.reconstructing.reconstructor import FaceReconstructor
from prnet.reconstructing.settings import MODEL_PATH
from prnet.serving.application import build_application
from prnet.serving.site import write_site
from tests.helpers.browser import Browser, find_chromium
from tests.helpers.gltf_files import binary_of, opened_by_three, stored, tree_of, validated, view
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


def downloaded(browser, label: str) -> bytes:
    """The file that a download offers."""
    text = browser.run(f"""(async () => {{
        const links = [...document.querySelectorAll("#downloads a")];
        const file = await (await fetch(links.find((link) => link.textContent.startsWith("{label}")).href)).blob();
        const reader = new FileReader();
        await new Promise((done) => {{ reader.onload = done; reader.readAsDataURL(file); }});
        return reader.result;
    }})()""")
    return base64.b64decode(text.partition(",")[2])


@dataclass(frozen=True)
class Page:
    """What the page showed and offered of the portrait."""

    names: list[str]  # of the downloads
    files: dict[str, bytes]
    strangers: list[str]  # what it loaded from elsewhere
    early: list[str]  # what it loaded of the network before it was needed


@pytest.fixture(scope="module")
def page(browser, site, tmp_path_factory):
    photo = tmp_path_factory.mktemp("photo") / "some one.png"
    photo.write_bytes(image_file(portrait(), "PNG"))
    with file_host(site) as address:
        open_page(browser, address)
        early = [name for name in loaded(browser) if "onnx" in name or "live/" in name]
        browser.choose_file("#file", photo)
        browser.wait_for("document.body.dataset.mesh === '0'")
        names = browser.run("[...document.querySelectorAll('#downloads a')].map((link) => link.download)")
        files = {label: downloaded(browser, label) for label in ("GLB", "OBJ", "PLY", "TEXTURE", "JSON")}
        strangers = [name for name in loaded(browser) if not name.startswith((address, "blob:"))]
    assert browser.errors() == []
    return Page(names, files, strangers, early)


@pytest.fixture(scope="module")
def face():
    return FaceReconstructor().reconstruct(portrait())[0]


def test_the_build_holds_what_it_needs_and_nothing_of_the_server(site):
    html = (site / "index.html").read_text()
    assert 'data-engine="browser"' in html
    assert "'wasm-unsafe-eval'" in html
    assert "frame-ancestors" not in html  # browsers take it from a header only, and complain of it here
    files = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    assert {"live/network.onnx", "live/face.json", "live/mesh.json", "static/worker.js"} <= files
    assert not {name for name in files if "docs" in name or "runs" in name or "server" in name}
    assert any(name.startswith("static/vendor/onnxruntime/") and name.endswith("LICENSE") for name in files)
    with pytest.raises(UserError, match="exists"):
        write_site(None, None, site)


@needs_browser
def test_a_photo_is_reconstructed_in_the_browser_as_by_the_package(page, face):
    assert page.early == []
    assert page.strangers == []
    assert page.names[0] == "some one_face1.glb"
    found = json.loads(page.files["JSON"])
    side = face.tracked_box.side
    apart = np.linalg.norm(np.array(found["landmarks"])[:, :2] - face.landmarks[:, :2], axis=1).mean()
    assert apart < 0.02 * side
    for angle in ("pitch", "yaw", "roll"):
        assert found["pose"][angle] == pytest.approx(getattr(face.pose, angle), abs=3)
    crop = prepare_crop(portrait(), face.box, face.grid.size)[0]
    quality = judge(face, crop, *portrait().shape[1::-1])
    assert found["confidence"] == pytest.approx(quality.confidence, abs=0.1)
    assert found["doubts"] == quality.doubts
    for kind in ("expressions", "scores"):
        assert list(found[kind]) == list(getattr(face, kind))
        assert np.mean([abs(found[kind][name] - value) for name, value in getattr(face, kind).items()]) < 0.05


@needs_browser
def test_the_glb_made_in_the_browser_is_the_packages(page, face, tmp_path):
    mesh = face_mesh(face, portrait(), with_morphs=True)
    ours, theirs = (
        parts_of(glb_bytes([mesh_part(mesh.in_metres(), "face")], file_notes("metres"))),
        parts_of(page.files["GLB"]),
    )
    for name in ("asset", "nodes", "materials", "extensionsUsed", "targetNames"):
        assert theirs[name] == ours[name]
    np.testing.assert_array_equal(theirs["triangles"], ours["triangles"])
    np.testing.assert_allclose(theirs["TEXCOORD_0"], ours["TEXCOORD_0"], atol=1e-5)
    assert np.abs(theirs["weights"] - ours["weights"]).mean() < 0.05
    np.testing.assert_allclose(theirs["targets"], ours["targets"], atol=5e-4)  # metres
    apart = np.linalg.norm(theirs["POSITION"] - ours["POSITION"], axis=1)
    assert apart.mean() < 0.002
    shown = theirs["POSITION"] + np.tensordot(theirs["weights"], theirs["targets"], 1)
    np.testing.assert_allclose(shown.mean(axis=0), 0, atol=1e-4)
    assert np.sum(theirs["NORMAL"] * ours["NORMAL"], axis=1).mean() > 0.99
    np.testing.assert_allclose(np.linalg.norm(theirs["NORMAL"], axis=1), 1, atol=1e-3)
    assert theirs["image"].shape == ours["image"].shape
    assert np.abs(theirs["image"] - ours["image"]).mean() < 15  # of 255 levels


def parts_of(content: bytes) -> dict:
    """What a .glb of one face says, its arrays read."""
    tree, binary = tree_of(content), binary_of(content)
    (mesh,) = tree["meshes"]
    (primitive,) = mesh["primitives"]
    picture = view(tree, binary, tree["images"][0]["bufferView"])
    return {
        **{name: tree[name] for name in ("asset", "nodes", "materials", "extensionsUsed")},
        **{name: stored(tree, binary, number) for name, number in primitive["attributes"].items()},
        "triangles": stored(tree, binary, primitive["indices"]).ravel(),
        "targets": np.array([stored(tree, binary, target["POSITION"]) for target in primitive["targets"]]),
        "weights": np.array(mesh["weights"]),
        "targetNames": mesh["extras"]["targetNames"],
        "image": np.asarray(Image.open(io.BytesIO(picture), formats=["PNG"]).convert("RGB"), dtype=np.float32),
    }


@needs_browser
def test_khronos_validator_finds_nothing_in_the_browsers_glb(page, tmp_path):
    (tmp_path / "face.glb").write_bytes(page.files["GLB"])
    (issues,) = validated([tmp_path / "face.glb"])
    assert issues["messages"] == []


@needs_browser
def test_three_opens_the_browsers_glb(page, tmp_path):
    (tmp_path / "face.glb").write_bytes(page.files["GLB"])
    (opened,) = opened_by_three(tmp_path / "face.glb", tmp_path / "three")
    assert (opened["name"], opened["unlit"], opened["texture"]) == ("face", True, 1024)
    assert opened["normals"] == opened["vertices"]
    assert len(opened["expressions"]) == len(opened["weights"]) == 51
    assert 0.15 < opened["size"][1] < 0.3  # metres


@needs_browser
def test_the_browsers_other_meshes_have_the_packages_axes(page, face, tmp_path):
    expected = face_mesh(face, portrait(), texture_size=64)
    for label in ("OBJ", "PLY"):
        mesh = trimesh.load(io.BytesIO(page.files[label]), file_type=label.lower(), process=False, maintain_order=True)
        np.testing.assert_array_equal(mesh.faces, expected.triangles)
        assert np.abs(mesh.vertices - expected.vertices)[:, :2].mean() < 0.02 * face.tracked_box.side


@needs_browser
def test_sliders_move_the_face_by_the_keyboard(browser, page):
    """On the page as it was left."""
    find = "[...document.querySelectorAll('.sliders label')].find((each) => each.textContent.startsWith('%s'))"
    slider, own = find % "Open", find % "jawOpen"
    shown = f"({own}).querySelector('input').valueAsNumber"
    before, chin = browser.run(shown), browser.run(CHIN)
    browser.run(f"({slider}).querySelector('input').focus()")
    browser.press("End")
    assert browser.run(shown) == 100
    assert browser.run(f"({slider}).querySelector('output').textContent") == "100 %"
    assert browser.run(CHIN) < chin - 0.1  # of a face two high
    browser.run("document.querySelector('[data-action=back]').click()")
    assert browser.run(shown) == before
    assert browser.run(CHIN) == pytest.approx(chin, abs=1e-3)


CHIN = "Number(document.getElementById('mesh').dataset.lowest)"
"""Height of the lowest vertex of the face that the 3D stage holds."""


FACES = """(async () => {
    const { start, facesOf } = await import("./static/network.js");
    const { provider } = await start();
    const picture = await createImageBitmap(await (await fetch("./static/samples/face1.jpg")).blob());
    const { faces: [face] } = await facesOf(picture, { side: 800, smallest: 24 });
    return { provider, landmarks: face.landmarks };
})()"""


@needs_browser
@pytest.mark.large
def test_webgpu_sees_the_same_face(site, tmp_path):
    """By SwiftShader, a GPU in software, which is taken only where the address asks for it."""
    flags = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]
    found = {}
    with file_host(site) as address, Browser(tmp_path / "profile", flags=flags) as browser:
        browser.open(address)
        if not browser.run("navigator.gpu?.requestAdapter().then(Boolean) ?? false"):
            pytest.skip("this browser has no WebGPU, not even in software")
        for query in ("", "?runtime=webgpu"):
            open_page(browser, f"{address}/{query}")
            face = browser.run(FACES)
            found[face["provider"]] = np.array(face["landmarks"])
        assert browser.errors() == []
    assert list(found) == ["wasm", "webgpu"]
    np.testing.assert_allclose(found["webgpu"], found["wasm"], atol=0.01)
    with Browser(tmp_path / "other") as browser, file_host(site) as address:
        open_page(browser, f"{address}/?runtime=webgpu")
        told = browser.run("import('./static/network.js').then(({ start }) => start()).catch((error) => error.message)")
        assert told == "This browser has no WebGPU that the network could use."


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
        browser.wait_for("document.querySelectorAll('#bars .bar').length > 50")
        gaze = browser.run("[...document.querySelectorAll('#gaze .bar')].map((bar) => bar.textContent)")
        assert len(gaze) == 8
        assert all(name.startswith("eyeLook") for name in gaze)
        browser.wait_for("document.getElementById('time').textContent.endsWith('/ s')")
        browser.run("document.querySelector('[data-action=leave]').click()")
        assert browser.run("document.getElementById('video').hidden")
        assert choices_are_there(browser)
        at_end = browser.run("document.body.dataset.live ?? null")
        assert at_end is None
        assert [name for name in loaded(browser) if not name.startswith((address, "blob:"))] == []


@needs_browser
def test_a_face_is_kept_from_live_mode_with_its_files(browser, site):
    with file_host(site) as address:
        open_page(browser, address)
        browser.run("document.querySelector('[data-action=live]').click()")
        browser.wait_for("!document.getElementById('keep').hidden")
        browser.run("document.querySelector('[data-action=keep]').click()")
        browser.wait_for("document.body.dataset.mesh === '0'")
        assert browser.run("document.getElementById('video').hidden")
        assert not browser.run("document.getElementById('play').hidden")
        assert browser.run("document.querySelector('#downloads a').download") == "live_face1.glb"
        assert len(parts_of(downloaded(browser, "GLB"))["targets"]) == 51


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
    """Also of one without named parameters: a mask without bars, smoothed as the package does it."""
    reconstructor = mean_face_reconstructor(sample_model, tmp_path, surface_filter=True)
    app = build_application(reconstructor)
    with listening(app) as address:
        open_page(browser, address)
        assert browser.run("crossOriginIsolated"), "threads need an isolated page"
        browser.run("document.querySelector('[data-action=live]').click()")
        browser.wait_for("document.body.dataset.live > 2")
        assert not browser.run("document.querySelector('#bars, #gaze').checkVisibility()")
        assert browser.run("Math.abs(parseFloat(document.getElementById('yaw').textContent))") < 5
        rough = np.random.default_rng(0).uniform(0, 300, (reconstructor.grid.mask.sum(), 3)).astype(np.float32)
        found = browser.run(f"""(async () => {{
            const {{ readDescription, smoothedSurface }} = await import("./static/face_math.js");
            const face = readDescription(await (await fetch("./live/face.json")).json());
            return [...smoothedSurface(Float32Array.from({rough.ravel().tolist()}), face)];
        }})()""")
    grid = reconstructor.grid
    field = np.zeros((*grid.mask.shape, 3), np.float32)
    field[grid.mask] = rough
    expected = smooth_map(field, grid.mask, grid.filter_width)[grid.mask]
    np.testing.assert_allclose(np.reshape(found, (-1, 3)), expected, atol=0.1)

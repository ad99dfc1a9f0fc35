"""Rendering in Keras operations: against the project's rasteriser, and its gradients against finite differences."""

import numpy as np
import pytest
import tensorflow as tf

from prnet.geometry.mesh import vertex_normals
from prnet.geometry.rasterise import interpolate, rasterise
from prnet.geometry.uv_layout import grid_triangles
from prnet.model.rendering import draw_mesh, sample_image, seen_triangles
from prnet.model.surface import map_normals, pixel_areas, visible_texels

SIDE = 24


def bump_map(texels: int = 16, seed: int = 0) -> np.ndarray:
    """A smooth surface (texels, texels, 3) over most of the picture, in pixels, y down, z larger nearer."""
    at = np.linspace(3.3, SIDE - 4.3, texels)
    x, y = np.meshgrid(at, at)
    z = 6 - ((x - SIDE / 2) ** 2 + (y - SIDE / 2) ** 2) / 30
    phase = np.random.default_rng(seed).uniform(0, 6, 2)
    return np.stack([x + 0.3 * np.sin(y + phase[0]), y + 0.3 * np.sin(x + phase[1]), z], axis=-1).astype(np.float32)


def smooth_image(seed: int = 1) -> np.ndarray:
    random, (row, column) = np.random.default_rng(seed), np.mgrid[:SIDE, :SIDE]
    waves = [np.sin(random.uniform(0.1, 0.4) * row + random.uniform(0.1, 0.4) * column) for _ in range(3)]
    return (0.5 + 0.4 * np.stack(waves, axis=-1)).astype(np.float32)


def gradient_and_differences(function, at: np.ndarray, coordinates, step: float):
    """The analytic gradient and central differences at some coordinates."""
    variable = tf.Variable(at)
    with tf.GradientTape() as tape:
        value = function(variable)
    analytic = tape.gradient(value, variable).numpy()
    numeric = []
    for place in coordinates:
        moved = [at.astype(np.float64), at.astype(np.float64)]
        moved[0][place] += step
        moved[1][place] -= step
        high, low = (float(function(tf.constant(m.astype(np.float32)))) for m in moved)
        numeric.append((high - low) / (2 * step))
    return np.array([analytic[place] for place in coordinates]), np.array(numeric)


def test_sampling_is_bilinear_and_clamped():
    image = np.arange(12, dtype=np.float32).reshape(1, 3, 4, 1)
    points = np.array([[[1, 1], [0.5, 0], [1.5, 1.5], [-9, 0], [3, 2], [99, 99]]], np.float32)
    np.testing.assert_allclose(np.asarray(sample_image(image, points))[0, :, 0], [5, 0.5, 7.5, 0, 11, 11])


def test_sampling_reads_each_image_of_a_batch():
    images = np.stack([np.zeros((4, 4, 1)), np.ones((4, 4, 1))]).astype(np.float32)
    np.testing.assert_allclose(
        np.asarray(sample_image(images, np.ones((2, 3, 2), np.float32)))[..., 0], [[0] * 3, [1] * 3]
    )


def test_gradient_of_sampling_with_respect_to_places():
    image, random = smooth_image()[None], np.random.default_rng(2)
    points = (np.floor(random.uniform(1, SIDE - 3, (1, 9, 2))) + random.uniform(0.2, 0.8, (1, 9, 2))).astype(np.float32)
    mixed = random.normal(size=(1, 9, 3)).astype(np.float32)
    places = [(0, n, axis) for n in range(9) for axis in range(2)]
    analytic, numeric = gradient_and_differences(
        lambda p: tf.reduce_sum(sample_image(image, p) * mixed), points, places, 0.05
    )
    np.testing.assert_allclose(analytic, numeric, atol=2e-3)


def test_a_drawn_mesh_is_the_rasterisers():
    surface = bump_map()
    triangles = grid_triangles(np.ones((16, 16), bool))
    vertices, colours = surface.reshape(-1, 3), np.random.default_rng(0).uniform(size=(256, 3)).astype(np.float32)
    raster = rasterise(vertices, triangles, SIDE, SIDE)
    seen = seen_triangles(vertices[None], triangles, SIDE, SIDE)
    np.testing.assert_array_equal(np.asarray(seen)[0], raster.triangle)
    drawn = np.asarray(draw_mesh(vertices[None], colours[None], triangles, seen))[0]
    np.testing.assert_allclose(drawn, interpolate(raster, triangles, colours), atol=2e-4)
    assert (drawn[raster.triangle < 0] == 0).all()


@pytest.mark.parametrize("what", ["places", "colours"])
def test_gradient_of_a_drawn_mesh_away_from_silhouettes(what):
    surface, random = bump_map(), np.random.default_rng(3)
    triangles = grid_triangles(np.ones((16, 16), bool))
    vertices, colours = surface.reshape(1, -1, 3), random.uniform(size=(1, 256, 3)).astype(np.float32)
    seen = seen_triangles(vertices, triangles, SIDE, SIDE)
    mixed = random.normal(size=(1, SIDE, SIDE, 3)).astype(np.float32)
    inner = [5 * 16 + 5, 7 * 16 + 9, 10 * 16 + 6]

    def drawn_with(values):
        if what == "places":
            return tf.reduce_sum(draw_mesh(values, colours, triangles, seen) * mixed)
        return tf.reduce_sum(draw_mesh(vertices, values, triangles, seen) * mixed)

    places = [(0, n, axis) for n in inner for axis in range(2 if what == "places" else 3)]
    analytic, numeric = gradient_and_differences(drawn_with, vertices if what == "places" else colours, places, 0.01)
    np.testing.assert_allclose(analytic, numeric, rtol=0.02, atol=0.02)


def test_normals_are_those_of_the_mesh_and_face_the_camera():
    surface = bump_map()
    expected = vertex_normals(surface.reshape(-1, 3) * (1, -1, 1), grid_triangles(np.ones((16, 16), bool)))
    found = np.asarray(map_normals(surface[None]))[0]
    cosine = (found.reshape(-1, 3) * expected).sum(axis=1).reshape(16, 16)[1:-1, 1:-1]
    assert cosine.min() > 0.99
    assert found[..., 2].min() > 0


def test_gradient_of_normals():
    surface, mixed = bump_map()[None], np.random.default_rng(4).normal(size=(1, 16, 16, 3)).astype(np.float32)
    places = [(0, row, column, axis) for row, column in ((0, 0), (5, 6), (15, 9)) for axis in range(3)]
    analytic, numeric = gradient_and_differences(lambda m: tf.reduce_sum(map_normals(m) * mixed), surface, places, 0.01)
    np.testing.assert_allclose(analytic, numeric, rtol=0.02, atol=0.01)


def test_areas_sum_to_what_the_surface_covers():
    surface = bump_map()
    seen = rasterise(surface.reshape(-1, 3), grid_triangles(np.ones((16, 16), bool)), SIDE, SIDE).triangle >= 0
    inner = np.asarray(pixel_areas(surface[None]))[0, 1:-1, 1:-1].sum() * (15 / 14) ** 2
    assert abs(inner / seen.sum() - 1) < 0.1


def test_what_lies_behind_is_hidden_and_what_turns_away_is_not_seen():
    flat = bump_map() * np.float32([1, 1, 0.3])
    behind, turned = flat.copy(), flat[:, ::-1]
    behind[:, :8] = behind[:, 8:] - (0, 0, 5)  # the left half of the map moved behind the right
    face = np.ones((16, 16), bool)
    seen = np.asarray(visible_texels(np.stack([behind, turned]), face, SIDE))
    assert seen[0, 2:-2, 10:-2].mean() > 0.9
    assert seen[0, 2:-2, 2:6].mean() < 0.1
    assert seen[1].max() == 0


def test_a_flank_is_seen():
    """A surface that falls away by four pixels a pixel hides nothing of itself."""
    at = np.linspace(3, SIDE - 4, 16, dtype=np.float32)
    x, y = np.meshgrid(at, at)
    flank = np.stack([x, y, 4 * x], axis=-1)
    assert np.asarray(visible_texels(flank[None], np.ones((16, 16), bool), SIDE)).min() == 1

"""A NumPy function inside a training step, on every backend: its result is a constant, without a gradient."""

from collections.abc import Callable

import keras
import numpy as np


def on_host(function: Callable[[np.ndarray], np.ndarray], tensor, shape: tuple):
    """What `function` makes of a tensor, int32 of a shape (B, ...) whose sides after B are `shape`.

    TensorFlow cannot compile it with XLA for a GPU: train with `jit` off there.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        result = tf.numpy_function(function, [tensor], tf.int32)
        result.set_shape((tensor.shape[0], *shape))
        return tf.stop_gradient(result)
    if backend == "jax":
        import jax

        result = jax.ShapeDtypeStruct((tensor.shape[0], *shape), np.int32)
        return jax.pure_callback(lambda values: function(np.asarray(values)), result, jax.lax.stop_gradient(tensor))
    return keras.ops.convert_to_tensor(function(keras.ops.convert_to_numpy(tensor)))

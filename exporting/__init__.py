"""Networks for other runtimes: SavedModel, LiteRT, ONNX, and PRNet's published checkpoint."""

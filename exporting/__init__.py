"""Networks for others: SavedModel, LiteRT, ONNX, and PRNet's published checkpoint."""

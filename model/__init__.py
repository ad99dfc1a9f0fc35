"""Networks, losses, metrics, the training function and saved models. Keras 3 operations only: any backend trains."""

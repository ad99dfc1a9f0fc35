"""Networks, losses, metrics, training and saved networks."""

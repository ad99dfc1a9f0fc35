"""Reading, building, augmenting and serving training data."""

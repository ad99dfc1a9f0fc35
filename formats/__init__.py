"""Files in and out: MATLAB, fits, images, archives, face models. Arrays and records, no networks."""

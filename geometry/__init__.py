"""Arrays in, arrays out: everything about shape, pose, crop, UV layout and position maps. No files, no network."""

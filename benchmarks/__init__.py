"""Speed and memory against floors measured in the same run: `make bench`."""

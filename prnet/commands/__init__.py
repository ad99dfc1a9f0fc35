"""The programs: each parses its flags and calls one function. `prnet NAME` and `NAME.py` run them."""

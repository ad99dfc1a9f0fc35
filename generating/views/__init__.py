"""Rotated views of photos with fits (face profiling, Zhu et al., CVPR 2016)."""

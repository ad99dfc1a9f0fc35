"""NME under named protocols, tables, curves and pictures."""

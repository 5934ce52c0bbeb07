"""Archives in partitions: planned once, worked off by any number of processes, the same bytes however often killed.

`plan` lists the pictures, `run` turns each partition into one Parquet file, `merge` and `summary` read these.
"""

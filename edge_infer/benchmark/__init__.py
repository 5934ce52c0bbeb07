"""Measures a bundle on this device: what it costs, where it runs, and whether the answers are still right.

`suite.run_suite` is the whole of it; `edge-infer benchmark` calls it. `results` holds the file format. Nothing here
imports more than the runtime itself does.
"""

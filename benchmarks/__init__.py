"""Peers side by side, the project's own goals, and reports over the result files of many devices.

python -m benchmarks peers              # the same networks in PyTorch, OpenVINO and here, interleaved in one run
python -m benchmarks goals              # the ratios that the project promises, measured on this machine
python -m benchmarks report FILE...     # Markdown, CSV and one HTML page from result files
"""

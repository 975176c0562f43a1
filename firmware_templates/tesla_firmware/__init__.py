"""Static C that every generated project is built from: kernels, application, link, boards.

Data only: reach the files through `importlib.resources.files("tesla_firmware")`.
"""

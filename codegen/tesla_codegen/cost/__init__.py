"""What kernels do, in numbers: how often each of their loops runs for a layer in a region.

A *cost model* is a function from a `Work` (what a kernel is given) to `Counts`. Instructions are a
linear function of these counts; the coefficients are measured, once for each CPU and compiler
(`tesla_host.estimate`), and stand in no file here.
"""

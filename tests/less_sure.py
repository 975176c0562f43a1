"""The kernels whose cost models are known to lack something: what docs/estimating.md lists."""

LESS_SURE = {
    "tesla_average_pool2d_dsp": 0.06,
    "tesla_pad_s8": 0.1,
    "tesla_conv2d_s4": 0.1,
    "tesla_fully_connected_s4": 0.1,
    "tesla_fully_connected_s8": 0.1,
    "tesla_conv2d_dense_helium": 0.05,
    "tesla_max_pool2d_helium": 0.05,
}
"""By how much the estimate of a layer may be off, on one core by one compiler; others by 3 %."""

"""Train, quantise and describe neural networks that scale at run time.

Import cost matters here: importing this package loads NumPy at most. Only `tesla_embed.nn`,
`tesla_embed.train` and `tesla_embed.quant` import torch.
"""

__version__ = "0.1.0"

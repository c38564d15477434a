"""What the notebooks share. Floor by floor, imports run downward only:

3  plots, findings, batch, bench                       what people touch
2  sweep                                               the studies
1  stack, networks                                     the machinery
0  activations, initializers, data, config, records    what varies and what stays
"""

"""A deep network in plain NumPy, float64, to be read in one sitting. Read it in this order, each file is one idea:

activations         phi and its derivative, a table
initializers        how weights are born, a table
layers              z = x W' + b and a = phi(z), forward and backward
losses              softmax cross-entropy
networks            layers in a row: the MLP
gradients           is the backward pass right? central differences
optimizers          SGD with momentum, Adam
data                splits, normalisation, mini-batches
training            epochs, and what is measured in them
softmax_regression  the floor that a deep network must beat
"""

"""The loss around a network: directions, surfaces, curvature, and the numbers and pictures made of them."""

"""The pieces of the method, pure: losses, mixture, neighbors, mixing, soft labels, augmentation."""

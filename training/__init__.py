"""From images and image labels to a model bundle."""

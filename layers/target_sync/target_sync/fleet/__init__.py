"""Many target groups kept right by one deployment: the sweep, the watch, the worker."""

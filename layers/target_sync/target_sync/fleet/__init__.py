"""Keep many tagged target groups equal to their databases with one deployment."""

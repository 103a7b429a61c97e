"""Many target groups at once: which are bound to which database, and which need work now."""

//! Address space for lanes: reserved at once, resident only where touched.

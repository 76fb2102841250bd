"""What a run will take, before anything is loaded: memory and time, from shapes and lengths."""

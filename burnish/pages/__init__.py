"""Pages that Burnish writes: one self-contained HTML file each, which asks the network for nothing."""

"""Between driver, agents and ranks: what they say to each other, by which channels, and what both ends count on."""

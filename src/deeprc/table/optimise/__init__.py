"""Plans that give the same and move less."""

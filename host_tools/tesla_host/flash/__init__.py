"""Write a firmware into a board's flash, with whatever programmer is at hand, and check it."""

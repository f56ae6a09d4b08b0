"""What an agent can do besides talking: tools as users define them, the built-in ones, and how they are run."""

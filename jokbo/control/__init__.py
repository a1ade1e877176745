"""Reinforcement learning on classic control tasks: A2C, A3C and PPO, as their papers measured them."""

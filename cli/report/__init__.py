"""The page of `agent report`: what a store holds, as plots."""

"""The epoch loop and what stands around it. No torch here."""

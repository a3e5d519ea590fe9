"""The MLflow tracker: what happens is written into the run's folder, and a thread sends it on."""

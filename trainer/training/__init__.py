"""The loop, tasks, losses, folds, distillation and checkpoints."""

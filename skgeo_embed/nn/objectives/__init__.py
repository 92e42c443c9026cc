"""What pretraining optimises."""

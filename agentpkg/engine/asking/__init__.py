"""What needs people: questions and their answers, budgets, and what a package will need of them."""

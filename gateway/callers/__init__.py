"""Who calls: keys, apps, teams, and what they may do."""

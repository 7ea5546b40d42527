"""The playground: talk to a bot on a web page, and see what its turns do."""

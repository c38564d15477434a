"""What people touch in a notebook: the live panel, the accuracy map, the page of results."""

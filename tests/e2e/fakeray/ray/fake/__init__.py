"""The processes behind `ray start`: head.py (GCS, dashboard, Serve's controller and proxy), raylet.py, replica.py."""

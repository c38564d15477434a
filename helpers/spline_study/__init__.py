"""The spline study: networks trained one by one, with a log of every parameter's gradient."""

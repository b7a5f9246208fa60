"""The .tsf layout of the Monash archive: one line per series, its attributes and values separated by colons.

Reference: Godahewa et al., Monash Time Series Forecasting Archive, NeurIPS 2021 (arXiv 2105.06643).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas.tseries.offsets import Day, Hour, Minute, Second, Week, WeekOfMonth

from pipeline.checks import failure, received
from pipeline.errors import DataError
from pipeline.frequency import DAY_US, Frequency, Grid, Int64s, future_times, parse_frequency
from pipeline.timestamps import grid_time_of
from pipeline.values import read_numbers

# What the archive's frequencies are in pandas: aliases whose step is the same.
_EQUAL_STEPS = {
    "4_seconds": "4s",
    "minutely": "min",
    "10_minutes": "10min",
    "15_minutes": "15min",
    "half_hourly": "30min",
    "hourly": "h",
    "daily": "D",
}
_PERIODS = {
    "weekly": ("W-MON", "7D"),
    "monthly": ("MS", "ME"),
    "quarterly": ("QS", "QE"),
    "yearly": ("YS", "YE"),
}

"""Stage window: the panel -> data/windows/fit and data/windows/test."""

from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.covariates import Known
from pipeline.params import load_params
from pipeline.series import Columns, load_panel
from pipeline.splits import require_season, save_windows
from pipeline.stages import run_stage


def main() -> None:
    params = load_params()
    panel = load_panel(Path("data/series"))
    frame = panel.frame
    lengths = frame.groupby("unique_id", sort=False).size()  # in the order of the panel, by which it is cut
    require_season(int(lengths.max()) - params.window.test_size, params.evaluate.season_length)
    ends = np.cumsum(lengths.to_numpy())[:-1]
    roles = Columns.from_json(panel.audit["columns"])
    columns = [*roles.past_covariates, *roles.future_covariates]
    known = Known(
        past=tuple(columns),
        future=roles.future_covariates,
        values=np.split(frame[columns].to_numpy(dtype=np.float64), ends) if columns else (),
        categorical={
            name: [None if pd.isna(word) else str(word) for word in panel.statics[name]]
            for name in roles.static_categorical
        },
        numeric={name: panel.statics[name].to_numpy(dtype=np.float64) for name in roles.static_numeric},
    )
    save_windows(
        [str(name) for name in lengths.index],
        np.split(frame["y"].to_numpy(dtype=np.float64), ends),
        np.split(frame["ds"].to_numpy(), ends),
        params.window,
        season_length=params.evaluate.season_length,
        meta={"freq": panel.freq, "timezone": panel.timezone},
        folder=Path("data/windows"),
        known=known,
    )


if __name__ == "__main__":
    run_stage(main)

"""The server of saved forecasters: several protocols, each a thin adapter, over one core."""

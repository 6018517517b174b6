from engine.config import configure as configure
from engine.data import load as load
from engine.data import load_data as load_data
from engine.reports.notebook import play as play
from engine.runs.folder import RunFolder as RunFolder
from engine.training.train import train as train

__version__: str

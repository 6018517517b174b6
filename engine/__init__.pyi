from engine.config import configure as configure
from engine.config.registry import load_plugin as load_plugin
from engine.config.registry import register as register
from engine.data import from_arrays as from_arrays
from engine.data import from_dataset as from_dataset
from engine.data import load as load
from engine.data import load_data as load_data
from engine.estimator import MixNNClassifier as MixNNClassifier
from engine.estimator import find_label_issues as find_label_issues
from engine.reports.notebook import play as play
from engine.runs.folder import RunFolder as RunFolder
from engine.runs.recorder import Recorder as Recorder
from engine.runs.runner import train_run as train_run
from engine.training.noisy_labels import make_noisy_labels as make_noisy_labels
from engine.training.train import prepare_state as prepare_state
from engine.training.train import train as train

__version__: str

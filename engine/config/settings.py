"""Every setting of a run in one validated object."""

from collections.abc import Collection
from functools import partial
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from engine.config import registry
from engine.config.messages import (
    describe_allowed,
    describe_error,
    describe_unknown,
    did_you_mean,
    named_values,
)
from engine.config.names import METHOD_ALIASES, NETWORK_ALIASES, PRESET_ALIASES
from engine.config.presets import (
    FINE_TUNED,
    METHOD_DEFAULTS,
    METHODS,
    PLUS_ON_PHOTOGRAPHS,
    PRESET_NAMES,
    method_settings,
    preset_settings,
)
from engine.errors import ConfigError

MOST_VOTED_LINEARLY = 100_000  # labels: features of more images would take 1 GB and more
SMALLEST_SIDE = 8  # pixels; the networks halve an image three times
# Settings that may change while a run trains; a change takes effect at the next epoch.
LIVE = ("k", "alpha", "correction", "correction_start")
# Settings that a fork cannot change: they determine the network and its images.
FIXED_IN_FORK = (
    "dataset", "limit", "image_size", "image_fit", "backbone", "backbone_weights", "data_seed",
    "network",
)  # fmt: skip
# Settings that determine the labels, together with the seed of the noise.
LABEL_SETTINGS = (
    "dataset", "limit", "image_size", "image_fit", "backbone", "backbone_weights", "data_seed",
    "noise", "rate", "noise_matrix", "margin_type", "human_labels",
)  # fmt: skip
# Values of a setting beside the parts of engine.config.registry.
_BESIDE_PARTS = {"early_loss": ("same",), "network": ("auto",)}
GROUPS = {  # name -> heading
    "data": "data set",
    "noise": "label noise",
    "method": "method",
    "network": "network and augmentation",
    "optimization": "optimization",
    "machine": "machine",
    "run": "seed and stored results",
}


def _in(group: str) -> Any:
    """A pydantic Field whose metadata names its group."""
    return partial(Field, json_schema_extra={"group": group})


_data, _noise, _method, _network, _optimization, _machine, _run = map(_in, GROUPS)


class RunConfig(BaseModel):
    """All settings of one run. Frozen; build it with `configure`, which adds method and preset.

    Epochs count from 0. The defaults are MixNN without a preset. "Reference" is the authors' code
    (MacLLL/MixNN).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dataset: str = _data("digits", min_length=1, description="data set, see `datasets`")
    limit: int | None = _data(None, ge=2, description="train on a stratified subset of this size")
    image_size: int | None = _data(
        None,
        ge=SMALLEST_SIDE,
        le=512,
        description="side in pixels of images of a folder or npz; none: a common size of a "
        "folder's images, at most about 64; an npz keeps its own",
    )
    image_fit: Literal["pad", "crop", "stretch"] = _data(
        "pad",
        description="how images of another aspect ratio get that size: black borders, cut at two "
        "sides, or distorted (also, the common size is then the most common one)",
    )
    backbone: str | None = _data(
        None,
        pattern=r"^timm:[\w.]{1,100}$",
        description="pretrained network, timm:NAME, whose features take the place of the images",
    )
    backbone_weights: str | None = _data(
        None,
        description="file with the weights of that or of network; pretrained: timm downloads its "
        "own",
    )
    data_seed: int = _data(
        0, ge=0, lt=2**32, description="seed of limit's subset and of generated data sets"
    )
    noise: str = _noise("symmetric", description="noise model, see `methods`")
    rate: float = _noise(0.4, ge=0, le=1, description="requested noise rate")
    noise_seed: int | None = _noise(
        None, ge=0, lt=2**32, description="seed of the noise; none: the run's seed"
    )
    noise_matrix: tuple[tuple[float, ...], ...] | None = _noise(
        None, description="C x C transition matrix for noise `matrix`, rows are true classes"
    )
    margin_type: Literal["I", "II", "III"] = _noise(
        "I", description="how noise `margin` grows as the margin shrinks (Zhang et al. 2021)"
    )
    human_labels: Literal["aggre", "random1", "random2", "random3", "worse", "noisy"] = _noise(
        "worse", description="which labels noise `human` takes; noisy is the set of CIFAR-100N"
    )
    mixing: Literal["none", "mixup", "neighbors"] = _method(
        "neighbors", description="what a training sample is mixed with"
    )
    loss: str = _method("ce", description="training loss")
    correction: Literal["none", "ema", "relabel", "posterior", "soft-posterior", "refine"] = (
        _method(
            "ema",
            description="how labels are corrected: by a moving average of the predictions (MixNN); "
            "or in every epoch from the given labels: relabel, by confident predictions (SSR); "
            "posterior, by Bayes' rule from predictions, neighbors' labels and estimated noise; "
            "soft-posterior, the probabilities of all classes by that rule; refine, by the "
            "prediction as far as the given label is unlikely to be clean (DivideMix)",
        )
    )
    k: int = _method(1, ge=1, le=100, description="K, neighbors mixed into a sample")
    alpha: float = _method(
        0.9, ge=0, le=1, description="momentum of the soft labels: share of the old label kept"
    )
    warmup: int = _method(10, ge=0, description="epochs of plain cross-entropy before mixing")
    correction_start: int = _method(
        60, ge=0, description="first epoch that corrects labels (not before warmup)"
    )
    correction_interval: int = _method(
        1, ge=1, description="labels move in every n-th epoch (reference: 10)"
    )
    correction_source: Literal["evaluation", "batch"] = _method(
        "evaluation",
        description="predictions that move labels: whole-set evaluation pass, or the training-mode "
        "prediction on each unmixed augmented batch (reference)",
    )
    sharpen: float = _method(
        1.0,
        gt=0,
        le=1,
        description="temperature of the predictions that move labels: more confident below 1",
    )
    align: Literal["none", "uniform", "given"] = _method(
        "none",
        description="class shares that the predictions that move labels are aligned to: all equal, "
        "or those of the given labels",
    )
    weighting: str = _method(
        "clean",
        description="what neighbors are weighted by: P(clean), or all equally",
    )
    relabel_threshold: float = _method(
        0.9,
        ge=0,
        le=1,
        description="probability above which `relabel` and `posterior` change a label",
    )
    relabel_vote: bool = _method(
        True, description="relabel only where the neighbors vote for the prediction (SSR: no)"
    )
    clean_from: str = _method(
        "mixture",
        description="what P(clean) follows from: the mixture fitted on the losses, the vote of the "
        "nearest neighbors' labels, or the product of both",
    )
    vote_k: int = _method(
        50,
        ge=1,
        le=1000,
        description="nearest neighbors that vote on a label; at most half an average class",
    )
    vote_from: Literal["neighbors", "linear"] = _method(
        "neighbors",
        description="what votes on a label: the labels of its nearest neighbors; or a linear "
        "classifier on features of image patches, fitted to all labels but this one (for up to "
        "100,000 labels)",
    )
    sampling: Literal["uniform", "clean", "selected"] = _method(
        "uniform",
        description="how an epoch's samples are drawn after warm-up: each once; by P(clean); or "
        "only those with the highest P(clean), 1 (SSR). The last two draw all classes equally "
        "often, with replacement",
    )
    random_share: float = _method(
        0.0,
        ge=0,
        le=1,
        description="share of the samples that mixing `neighbors` mixes with a random sample "
        "instead, by Beta-distributed weights times P(clean)",
    )
    neighbor_scope: Literal["dataset", "batch"] = _method(
        "dataset", description="where neighbors are searched (reference: batch)"
    )
    neighbor_backend: Literal["auto", "exact", "ivf", "hnsw"] = _method(
        "auto", description="how neighbors are searched"
    )
    neighbor_metric: Literal["l2", "cosine"] = _method(
        "l2",
        description="what is near: by Euclidean distance, or by the angle between two feature "
        "vectors, as usual for embeddings",
    )
    early_mixing: Literal["neighbors", "mixup", "none"] = _method(
        "neighbors",
        description="what mixing `neighbors` does between warmup and correction_start "
        "(reference: mixup)",
    )
    early_loss: str = _method(
        "same",
        description="loss of mixing `neighbors` between warmup and correction_start "
        "(reference: linear)",
    )
    early_extra: int = _method(
        0, ge=0, description="epochs that early_mixing outlasts correction_start (reference: 1)"
    )
    loss_history: int = _method(
        1, ge=1, le=100, description="epochs over which the losses behind P(clean) are averaged"
    )
    warmup_shuffle: bool = _method(True, description="shuffle during warm-up (reference: no)")
    warmup_augment: bool = _method(True, description="augment during warm-up (reference: no)")
    unmixed_forward: bool = _method(
        False,
        description="before each mixed batch a training-mode forward pass of its unmixed images, "
        "which only updates the running statistics of batch normalization (reference: yes)",
    )
    mixup_beta: float = _method(
        1.0, gt=0, le=100, description="a of the Beta(a, a) that mixup draws from"
    )
    gce_q: float = _method(0.7, gt=0, le=1, description="q of GCE (Zhang and Sabuncu 2018)")
    sce_a: float = _method(
        0.1, ge=0, description="weight of cross-entropy in SCE (Wang et al. 2019)"
    )
    sce_b: float = _method(1.0, ge=0, description="weight of reverse cross-entropy in SCE")
    elr_beta: float = _method(0.7, ge=0, le=1, description="momentum of ELR's targets (Liu 2020)")
    elr_lambda: float = _method(3.0, ge=0, description="weight of ELR's regularizer")
    network: str = _network(
        "auto",
        description="network; auto: small up to 28 pixels, resnet9-w16 above, linear for "
        "rows of numbers; timm:NAME: the last block of a pretrained network is trained, with "
        "its weights in backbone_weights",
    )
    augment: str = _network(
        "crop-flip", description="augmentation: none, random shift, random shift and mirror"
    )
    padding: int = _network(4, ge=0, le=64, description="largest shift of the crop, in pixels")
    cutout: int = _network(
        0, ge=0, le=256, description="side of the square cut out of a training image (0: none)"
    )
    randaugment: float = _network(
        0.0,
        ge=0,
        le=1,
        description="share of the training images to which RandAugment is applied "
        "(Cubuk et al. 2020)",
    )
    jitter: float = _network(
        0.0, ge=0, lt=1, description="strength of random brightness, contrast and saturation"
    )
    epochs: int = _optimization(300, ge=1, le=100_000, description="epochs in all")
    batch_size: int = _optimization(128, ge=2, le=65_536, description="samples in a training batch")
    optimizer: Literal["sgd", "adamw"] = _optimization("sgd", description="optimizer")
    learning_rate: float = _optimization(0.02, gt=0, le=100, description="highest learning rate")
    learning_rate_min: float = _optimization(0.001, ge=0, description="lowest learning rate")
    momentum: float = _optimization(0.9, ge=0, lt=1, description="momentum of SGD")
    nesterov: bool = _optimization(False, description="Nesterov's momentum in SGD")
    weight_decay: float = _optimization(1e-3, ge=0, le=1, description="weight decay")
    weight_ema: float = _optimization(
        0.0,
        ge=0,
        lt=1,
        description="momentum of a moving average of the weights, which is then evaluated and "
        "tested (Tarvainen and Valpola 2017); 0: none",
    )
    flip_average: Literal["none", "test", "all"] = _network(
        "none",
        description="predictions averaged over an image and its mirror image: in tests only, or in "
        "the evaluation of the training set as well",
    )
    schedule: Literal["constant", "cosine", "one-cycle", "warm-restarts"] = _optimization(
        "cosine", description="course of the learning rate"
    )
    schedule_period: int = _optimization(
        10, ge=1, description="epochs of one cycle of warm-restarts"
    )
    seed: int = _run(0, ge=0, lt=2**32, description="seed of everything random in the run")
    device: str = _machine(
        "auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N"
    )
    precision: Literal["auto", "float32", "bf16"] = _machine(
        "auto", description="auto: bf16 where the machine has it and the network gains from it"
    )
    compile: Literal["auto", "none", "default", "reduce-overhead", "max-autotune"] = _machine(
        "auto",
        description="mode of torch.compile for the network; the last two use CUDA graphs; auto: "
        "default for a long run of a larger network, else none",
    )
    deterministic: bool = _machine(
        True,
        description="on a GPU, the same seed gives the same arrays; false: the fastest algorithms, "
        "whose sums are rounded differently from run to run",
    )
    threads: int = _machine(
        0, ge=0, le=1024, description="CPU threads; 0: one for the small network, else all cores"
    )
    best_on: Literal["validation", "test"] = _run(
        "validation",
        description="split that names the best epoch; test where there is no validation part "
        "(reference: test)",
    )
    test_interval: int = _run(
        1,
        ge=1,
        description="measure the test part after every n-th epoch and the last; the metrics of the "
        "other epochs have no test accuracy",
    )
    panel_size: int = _run(
        5000, ge=2, le=100_000, description="samples whose features are kept for the map"
    )
    state_interval: int = _run(
        1, ge=1, description="keep the network of every n-th epoch for forks (newest: always)"
    )
    checkpoint_every: int = _run(
        1,
        ge=1,
        description="write the state for resume after every n-th epoch, in addition to those that "
        "state_interval keeps; a process that is killed loses at most n epochs, one that is "
        "stopped or paused none",
    )

    @field_validator("network", mode="before")
    @classmethod
    def _current_name(cls, value: Any) -> Any:
        return NETWORK_ALIASES.get(value, value) if isinstance(value, str) else value

    @field_validator(*registry.KIND_OF)
    @classmethod
    def _known_part(cls, value: str, info: ValidationInfo) -> str:
        """Built-in parts, and parts of one's own by name and hash, known here or not."""
        name = str(info.field_name)
        if name == "network" and registry.is_pretrained(value):
            return value
        if value not in choices(name) and not registry.is_custom(value):
            raise ValueError
        return value

    @model_validator(mode="after")
    def _check_combinations(self) -> "RunConfig":
        if self.correction_start < self.warmup:
            raise ValueError(
                f"correction_start = {self.correction_start}: "
                f"allowed is warmup ({self.warmup}) or later"
            )
        if self.learning_rate_min > self.learning_rate:
            raise ValueError(
                f"learning_rate_min = {self.learning_rate_min}: allowed is 0 to learning_rate "
                f"({self.learning_rate})"
            )
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov = True: allowed is a momentum above 0 with it, not 0.0")
        if self.sampling != "uniform" and self.neighbor_scope == "batch":
            raise ValueError(
                f"sampling = {self.sampling!r}: allowed is uniform where neighbor_scope is batch"
            )
        if self.correction_source == "batch" and self.correction not in ("none", "ema"):
            raise ValueError(
                f"correction = {self.correction!r}: allowed are none and ema where "
                "correction_source is batch"
            )
        if (self.noise == "matrix") != (self.noise_matrix is not None):
            raise ValueError(
                f"noise = {self.noise!r}: noise 'matrix' and noise_matrix go together, "
                "one was given without the other"
            )
        return self

    @property
    def method(self) -> str:
        """Name of the method with these settings in METHODS; "custom" where there is none.

        "custom: NAME" where a part of one's own makes it.
        """
        parts = [getattr(self, name) for name in registry.KIND_OF if name != "noise"]
        if custom := list(dict.fromkeys(filter(registry.is_custom, parts))):
            return " + ".join(map(registry.in_words, custom)).replace("+ custom: ", "+ ")
        own = {name: getattr(self, name) for name in METHOD_DEFAULTS}
        photographs = METHODS["mixnn-plus"] | PLUS_ON_PHOTOGRAPHS
        for name, row in (*METHODS.items(), ("mixnn-plus", photographs)):
            if own.items() <= row.items():
                return name
        return "custom"

    @property
    def votes(self) -> bool:
        """Whether there is a vote on labels."""
        relabels = self.correction == "relabel" and self.relabel_vote
        return relabels or "posterior" in self.correction or self.clean_from in ("vote", "both")

    def voter(self, n: int) -> str:
        """Who votes on n labels, a value of vote_from."""
        return "neighbors" if n > MOST_VOTED_LINEARLY else self.vote_from

    @property
    def warnings(self) -> list[str]:
        """What is allowed but hardly intended, one sentence each."""
        warnings = []
        if self.mixing != "none" and self.epochs <= self.warmup:
            warnings.append(
                f"epochs = {self.epochs} end before warmup = {self.warmup}: nothing is mixed"
            )
        if self.correction != "none" and self.epochs <= self.correction_start:
            warnings.append(
                f"epochs = {self.epochs} end before correction_start = {self.correction_start}: "
                "no label is corrected"
            )
        return warnings

    def changed(self, **settings: Any) -> "RunConfig":
        """The same settings but for these, validated again. Raises ConfigError."""
        return _validated(self.model_dump() | _named_parts(settings))

    def varied(self, *, method: str | None = None, **settings: Any) -> "RunConfig":
        """Like `changed`, but a method sets what makes it (METHOD_DEFAULTS), and a noise other than
        `matrix` drops the matrix. Raises ConfigError.
        """
        base: dict[str, Any] = {}
        if method is not None:
            row = method_settings(_known_method(method), {"vote_from": self.vote_from})
            base = {name: row[name] for name in METHOD_DEFAULTS}
        if settings.get("noise", self.noise) != "matrix":
            base["noise_matrix"] = None
        return self.changed(**base | settings)

    def changed_live(self, **settings: Any) -> "RunConfig":
        """Like `changed`, for a run that trains: only the settings in LIVE may change."""
        for name, value in settings.items():
            if name not in LIVE:
                raise ConfigError(
                    f"{name} = {value!r} cannot change while a run trains: "
                    f"allowed are {', '.join(LIVE)}; fork the run for anything else"
                )
        return self.changed(**settings)


def configure(*, method: str = "mixnn", preset: str = "auto", **settings: Any) -> RunConfig:
    """Settings of a run: the preset's, over them the method's, over them those passed here.

    MixNN takes the preset's loss where that has one: "mixnn" by "cifar10-fast" or "cifar10-best"
    is "mixnn-elr". preset "auto" is the tuned one of the data set, "reference" the authors'
    settings, "cifar10-fast" and "cifar10-best" are for a GPU and photographs of 32 x 32, "plain"
    none. Raises ConfigError; its message names the setting, its value and what is allowed.
    """
    settings = _named_parts(settings)
    method = _known_method(method)
    preset = _known("preset", PRESET_ALIASES.get(preset, preset), PRESET_NAMES)
    rate = settings.get("rate", RunConfig.model_fields["rate"].default)
    if preset == "reference":
        rate = _validated({"rate": rate}).rate
    dataset = "features" if settings.get("backbone") else settings.get("dataset", "digits")
    base = preset_settings(preset, str(dataset), rate)
    if preset == "auto" and registry.is_pretrained(settings.get("network")):
        base = base | FINE_TUNED
    row = method_settings(method, base)
    return _validated((row | base if method == "mixnn" else base | row) | settings)


def group_of(name: str) -> str:
    """The group of a setting, one of GROUPS."""
    extra = RunConfig.model_fields[name].json_schema_extra
    assert isinstance(extra, dict)
    return str(extra["group"])


def unknown(name: str, value: Any = None) -> ConfigError:
    """The error of a setting that is not known; it names the nearest one that is."""
    return ConfigError(describe_unknown(name, value, RunConfig.model_fields))


def allowed(name: str) -> str:
    """The values that a setting may have, in words: "a whole number from 1 to 100"."""
    return describe_allowed(RunConfig.model_fields[name], choices(name))


def choices(name: str) -> tuple[str, ...]:
    """The named values of a setting; () where it has others. Parts of one's own come on top."""
    if name in registry.KIND_OF:
        return (*_BESIDE_PARTS.get(name, ()), *registry.BUILT_IN[registry.KIND_OF[name]])
    field = RunConfig.model_fields.get(name)
    return () if field is None else named_values(field)


def _known_method(name: str) -> str:
    return _known("method", METHOD_ALIASES.get(name, name), METHODS)


def _known(setting: str, value: str, names: Collection[str]) -> str:
    """The value, if it is one of these names. Raises ConfigError."""
    if value not in names:
        guess = did_you_mean(value, names)
        raise ConfigError(f"{setting} = {value!r}: allowed are {', '.join(names)}{guess}")
    return value


def _named_parts(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with parts of one's own as custom:NAME@HASH. Raises ConfigError."""
    parts = {name: registry.KIND_OF[name] for name in settings if name in registry.KIND_OF}
    named = {
        name: registry.as_setting(kind, settings[name])
        for name, kind in parts.items()
        if settings[name] not in choices(name)
    }
    return settings | named


def _validated(values: dict[str, Any]) -> RunConfig:
    try:
        return RunConfig(**values)
    except ValidationError as error:
        fields = RunConfig.model_fields
        sentences = [
            describe_error(e, fields, choices(str(e["loc"][0])) if e["loc"] else ())
            for e in error.errors()
        ]
        raise ConfigError("; ".join(sentences)) from None

"""Settings of the model and its training. Losses and negatives are chosen here, not by subclassing."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from schema.settings import Settings

CUSTOM_CONFIG_KEY = "trainer_config"

Positive = Annotated[int, Field(ge=1)]


class LossConfig(Settings):
    """What a training step minimises.

    Attributes:
      kind: `hinge` (DPSR, arXiv 2006.02282) or `softmax`, sampled softmax cross entropy.
      margin: hinge only; by how much a positive must outscore a negative.
      temperature: softmax only; scores are divided by it. Scores are cosines, so it is well below 1.
      logq_correction: softmax only; subtracts the log of each candidate's expected count among the negatives,
        without which in-batch negatives punish popular items (Yi et al., RecSys 2019).
      order_weight: weight of an ordered item; a clicked one weighs 1.
    """

    kind: Literal["hinge", "softmax"] = "softmax"
    margin: float = Field(0.1, gt=0.0)
    temperature: float = Field(0.07, gt=0.0)
    logq_correction: bool = True
    order_weight: float = Field(1.0, gt=0.0)


class NegativesConfig(Settings):
    """Which items a positive must beat.

    Attributes:
      per_positive: how many negatives each positive meets, shared by the whole batch.
      random_ratio: DPSR's mixing ratio alpha; this share is drawn uniformly from the catalogue, the rest are other
        positives of the batch. In-batch negatives alone push popular items down; random ones alone let them rise.
    """

    per_positive: Positive = 512
    random_ratio: float = Field(0.5, ge=0.0, le=1.0)


class HistoryConfig(Settings):
    """How much of a user's behaviour the query tower reads, newest first.

    Attributes:
      enabled: off gives a model that is not personalised by behaviour.
      real_time_items: items of the last day that are read.
      short_term_items: items of the days before that are read.
      long_term_items: items read of each of long-term clicks, orders and carts.
      query_units: unigrams of past queries that are read.
    """

    enabled: bool = True
    real_time_items: Positive = 20
    short_term_items: Positive = 20
    long_term_items: Positive = 10
    query_units: Positive = 24


class OptimizerConfig(Settings):
    """How weights are moved.

    Attributes:
      name: `adagrad` is what the papers use; `adam` needs less care with the learning rate.
      learning_rate: step size.
      clip_norm: gradients are scaled down to this L2 norm, taken over all weights at once.
    """

    name: Literal["adagrad", "adam"] = "adam"
    learning_rate: float = Field(0.001, gt=0.0)
    clip_norm: float = Field(3.0, gt=0.0)


class TrainerConfig(Settings):
    """One model and how it is trained.

    Attributes:
      model: which of `trainer/models`.
      embedding_dim: width of every input embedding.
      dim: width of the vectors that are searched.
      heads: query vectors per request; `two_tower` has one.
      hidden: widths of the ReLU layers before the last one, which has width `dim`.
      beta: temperature of DPSR's soft weighting of heads in training; near 0 it is the best head alone.
      dropout: share of the hidden layers' outputs that are dropped in training.
      lexical_skip: `dpsr` only; whether both towers start from a weighted bag of words (`layers/lexical.py`).
      profile: whether the query tower reads the `profile_*` features.
      batch_size: requests per step.
      epochs: passes over the training requests, at most.
      validation_share: share of the train split's requests kept out of training for early stopping, so that the eval
        split, on which the gate judges, is never used to choose anything.
      patience: epochs without a better validation recall@k before training stops.
      recall_k: the k of validation recall.
      query_units: a query's unigrams after this many are not read.
      title_units: a title's unigrams after this many are not read.
      max_positives: clicked or ordered items read of one request.
      seed: of initial weights, shuffling and sampling.
    """

    model: Literal["two_tower", "dpsr"] = "dpsr"
    embedding_dim: Positive = 64
    dim: Positive = 64
    heads: Positive = 2
    hidden: tuple[Positive, ...] = (256, 128)
    beta: float = Field(0.1, gt=0.0)
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    lexical_skip: bool = True
    profile: bool = True
    history: HistoryConfig = HistoryConfig()
    loss: LossConfig = LossConfig()
    negatives: NegativesConfig = NegativesConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    batch_size: Positive = 512
    epochs: Positive = 10
    validation_share: float = Field(0.03, gt=0.0, lt=0.5)
    patience: Positive = 2
    recall_k: Positive = 100
    query_units: Positive = 16
    title_units: Positive = 32
    max_positives: Positive = 8
    seed: int = 17

    @model_validator(mode="after")
    def _two_tower_has_one_head(self) -> "TrainerConfig":
        if self.model == "two_tower" and self.heads != 1:
            raise ValueError("`two_tower` has one query vector: set `heads: 1`, or `model: dpsr` for several")
        return self

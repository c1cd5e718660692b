"""Settings of the model and its training. Losses and negatives are chosen here, not by subclassing."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from schema.settings import Settings

CUSTOM_CONFIG_KEY = "trainer_config"

# What a model has otherwise than the rest, because it is in its paper and costs nothing here.
MODEL_DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "mgdspr": {
        "profile": False,
        "history": {"real_time_items": 50, "short_term_items": 100, "long_term_items": 100},
    },
}
# Models whose query and title are also read as segments.
SEGMENT_MODELS: Final = ("mgdspr", "mmse")

# Epochs, each with its validation, into which the `min_steps` of a small log are divided.
MIN_EPOCHS: Final = 30

Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]


class LossConfig(Settings):
    """What a training step minimizes.

    Attributes:
      kind: `hinge` (DPSR, arXiv 2006.02282) or `softmax`, sampled softmax cross entropy.
      margin: hinge only; by how much a positive must outscore a negative.
      temperature: of softmax and the ranking loss; scores are divided by it. Scores are cosines, so it is well below 1.
      logq_correction: softmax only; subtracts the log of each candidate's expected count among the negatives,
        without which in-batch negatives punish popular items (Yi et al., RecSys 2019).
      order_weight: weight of an ordered item; a clicked one weighs 1.
      ranking_weight: weight of MMSE's ranking loss among the items of one search (arXiv 2303.11009), added to the loss
        above; 0 leaves it out, for it costs more recall than it gains in the order of a page.
      ranking_kind: of each pair of a search of which one item got further, `hinge` or `logistic` (RankNet). `levels`,
        softmax only, is a softmax of each item among those of the search that got less far and the negatives, so that
        a shown item beats these (after MOPPR, arXiv 2210.04170).
      ranking_margin: `hinge` only; by how much an item must outscore one of the same search that got one stage less
        far. As all of the ranking loss it is in logits, scores divided by `temperature`, as those of softmax are.
      ranking_items: shown and not clicked items of a search that the ranking loss reads, the topmost first.
    """

    kind: Literal["hinge", "softmax"] = "softmax"
    margin: float = Field(0.1, gt=0.0)
    temperature: float = Field(0.07, gt=0.0)
    logq_correction: bool = True
    order_weight: float = Field(1.0, gt=0.0)
    ranking_weight: float = Field(0.0, ge=0.0)
    ranking_kind: Literal["hinge", "logistic", "levels"] = "hinge"
    ranking_margin: float = Field(1.0, ge=0.0)
    ranking_items: Positive = 4


class NegativesConfig(Settings):
    """Which items a positive must beat.

    Attributes:
      per_positive: how many negatives each positive meets, shared by the whole batch, where `all_in_batch` is off.
      random_ratio: this share of `per_positive` is drawn uniformly from the catalog; at 1 there are no others. In-batch
        negatives alone push popular items down; random ones alone let them rise.
      all_in_batch: whether all other positives of the batch are negatives besides. Off takes as many as the random
        ones leave of `per_positive`, so that `random_ratio` is DPSR's mixing ratio alpha.
      mixed: MGDSPR's I_mix (arXiv 2106.09297), softmax only: this many of a positive's hardest negatives are moved
        towards the positive and are negatives once more. 0, for none, since they cost recall.
      mixing_low, mixing_high: the share of the positive in such a mixture is drawn between these.
      hard: mined negatives (`components/hard_negatives`) that each request meets besides; 0 for none.
      own_expected_count: with `logq_correction`, what counts as the expected count of a mixture and of a mined
        negative, of which a request has its own. 0 takes the mean of the logarithms of the shared negatives' counts,
        so that one counts as much as another of the same score.
    """

    per_positive: Positive = 1024
    random_ratio: float = Field(0.5, ge=0.0, le=1.0)
    all_in_batch: bool = True
    mixed: NotNegative = 0
    mixing_low: float = Field(0.4, ge=0.0, le=1.0)
    mixing_high: float = Field(0.6, ge=0.0, le=1.0)
    hard: NotNegative = 0
    own_expected_count: float = Field(0.0, ge=0.0)


class HistoryConfig(Settings):
    """How much of a user's behavior the query tower reads, newest first. `mgdspr` has 50, 100 and 100 items.

    Attributes:
      enabled: off gives a model that is not personalized by behavior.
      real_time_items: items of the last day that are read.
      short_term_items: items of the days before that are read.
      long_term_items: items read of each of long-term clicks, orders and carts.
      query_units: unigrams of past queries that are read.
    """

    enabled: bool = True
    real_time_items: Positive = 20
    short_term_items: Positive = 20
    long_term_items: Positive = 10
    query_units: Positive = 32


class CatalogQueriesConfig(Settings):
    """Training queries made from the catalog's own words, for items and words that no click has taught. [ours]

    Attributes:
      share: such queries per step, as a share of the batch; 0 for none. At most as many as there are random negatives,
        whose items they look for.
      longest: units of title in a query, at most; they are neighbors in the title.
      attribute_share: share of the words of brand and category that are added to a query.
      misspelled_share: share of the words that lose their identity and part of their character n-grams, as a misspelled
        word does, so that the rest of these learn to stand for it.
    """

    share: float = Field(0.5, ge=0.0, le=1.0)
    longest: Positive = 4
    attribute_share: float = Field(0.2, ge=0.0, le=1.0)
    misspelled_share: float = Field(0.1, ge=0.0, le=1.0)


class QueryUnderstandingConfig(Settings):
    """When a query is taken to name a brand or a category, for relevance control (`trainer/query_evidence.py`).

    Attributes:
      min_support: clicks and orders behind a term, below which nothing is known of it.
      coverage: share of a term's clicks and orders, unseen ones estimated, that its brands or categories must cover.
        Higher keeps more of what users want and discards less. A term that always led to one brand needs
        0.5 / (1 - coverage) clicks to be believed.
      max_values: brands or categories that a term may leave; one that would leave more says nothing.
      catalog_support: clicks that the items which bear a word of their brand's or category's name stand for, at most;
        0 goes by clicks alone.
    """

    min_support: float = Field(10.0, ge=1.0)
    coverage: float = Field(0.95, gt=0.5, lt=1.0)
    max_values: Positive = 8
    catalog_support: float = Field(10.0, ge=0.0)


class TextEncoderConfig(Settings):
    """A sentence encoder whose vectors of the vocabulary's words are part of the words' embeddings.

    A text in place of this group is its `folder`.

    Attributes:
      folder: of the encoder, local or remote, as sentence-transformers or model2vec save one; empty for none.
      cache_dir: folder, local or remote, that keeps the vectors of terms from run to run, so that only new terms are
        encoded; empty for no cache.
      dim: width that its vectors are reduced to; vectors that are searched are wider by as much.
      share: what the cosine of query and item by these vectors adds to that of the learned ones. No training changes
        it.
      trainable: whether training changes the words' vectors.
    """

    folder: str = ""
    cache_dir: str = ""
    dim: Positive = 64
    share: float = Field(0.4, gt=0.0)
    trainable: bool = False

    @model_validator(mode="before")
    @classmethod
    def _folder_alone(cls, values: Any) -> Any:
        return {"folder": values or ""} if values is None or isinstance(values, str) else values


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
      dim: width of the vectors that are searched, without that of a text encoder. `mgdspr` needs `embedding_dim` to be
        equal.
      heads: `dpsr` only; query vectors per request, of which each searches for itself.
      hidden: widths of the ReLU layers before the last one, which has width `dim`.
      beta: temperature of DPSR's soft weighting of heads in training; near 0 it is the best head alone.
      dropout: share of the hidden layers' outputs that are dropped in training.
      lexical_skip: all but `two_tower`; whether both towers start from a weighted bag of words (`layers/lexical.py`).
      multi_grain: `mgdspr` and `mmse`; off reads the query as one grain, its unigrams.
      fusion: `mgdspr`: whether a Transformer over all grains and behaviors makes the query vector; off concatenates
        them. `mmse`: whether similarities are fused after the grains have met the item; off fuses the grains before.
      attention_heads: `mgdspr` only; heads of every self-attention, a divisor of `embedding_dim`.
      id_dropout: `mgdspr` only; share of items whose id is hidden in training, so that words alone can find new ones.
      unit_vectors: `mgdspr` only; whether vectors are scaled to unit length, as those of the other models are, so that
        scores are cosines. The paper has plain inner products, and a temperature of 2 for them.
      profile: whether the query tower reads the `profile_*` features; `mgdspr` has no place for them.
      batch_size: requests per step; 0 goes by the log: a power of two from 64 to 512, the largest that gives 50 steps a
        pass.
      epochs: passes over the training requests, at most; more where these are fewer than `min_steps`. 0 goes by the
        log: 10, or as many as three times `min_steps` need.
      min_steps: steps before early stopping may end training, so that a log of a few thousand clicks, of which a pass
        is a few steps, is not left untrained. Of such a log several passes may make an epoch.
      validation_share: share of the train split's requests kept out of training for early stopping, so that the eval
        split, on which the gate judges, is never used to choose anything.
      min_validation_requests: a log in which that share is fewer requests gives up to a fifth of them: a few dozen
        requests do not tell which of many epochs was the best.
      patience: epochs without a better validation NDCG, over the whole catalog, before training stops; 0 goes by the
        log: 2, or as many as 100 steps need.
      warm_start: whether training starts from the model of the last blessed servable, of whatever type, as far as the
        two have weights in common. Every run then trains anew, since each has another model to start from.
      checkpoint_steps: steps between savings of the training's state, from which the next run goes on if this one is
        killed; 0 saves it at the end of each epoch alone.
      recall_k: the k of the validation recall that is logged.
      query_units: a query's unigrams after this many are not read.
      query_subwords: a query's character n-grams after this many are not read.
      title_units: a title's unigrams after this many are not read.
      title_subwords: a title's character n-grams after this many are not read.
      text_units: of each further text column of the catalog, this many distinct unigrams are read, the rarest.
      clicked_units: of the words of the queries that led to an item in training, this many are read as its text, those
        of most requests; 0 reads none.
      max_positives: clicked or ordered items read of one request.
      seed: of initial weights, shuffling and sampling.
    """

    model: Literal["two_tower", "dpsr", "mgdspr", "mmse"] = "dpsr"
    embedding_dim: Positive = 192
    dim: Positive = 192
    heads: Positive = 1
    hidden: tuple[Positive, ...] = (256, 128)
    beta: float = Field(0.1, gt=0.0)
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    lexical_skip: bool = True
    multi_grain: bool = True
    fusion: bool = True
    attention_heads: Positive = 8
    id_dropout: float = Field(0.2, ge=0.0, lt=1.0)
    unit_vectors: bool = True
    profile: bool = True
    history: HistoryConfig = HistoryConfig()
    loss: LossConfig = LossConfig()
    negatives: NegativesConfig = NegativesConfig()
    catalog_queries: CatalogQueriesConfig = CatalogQueriesConfig()
    query_understanding: QueryUnderstandingConfig = QueryUnderstandingConfig()
    text_encoder: TextEncoderConfig = TextEncoderConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    batch_size: NotNegative = 0
    epochs: NotNegative = 0
    min_steps: Positive = 300
    validation_share: float = Field(0.03, gt=0.0, lt=0.5)
    min_validation_requests: NotNegative = 400
    patience: NotNegative = 0
    warm_start: bool = False
    checkpoint_steps: NotNegative = 500
    recall_k: Positive = 100
    query_units: Positive = 24
    query_subwords: Positive = 48
    title_units: Positive = 40
    title_subwords: Positive = 128
    text_units: Positive = 96
    clicked_units: NotNegative = 24
    max_positives: Positive = 8
    seed: NotNegative = 17

    @property
    def vector_dim(self) -> int:
        """Width of the vectors that are searched, those of a text encoder among them."""
        return self.dim + (self.text_encoder.dim if self.text_encoder.folder else 0)

    @classmethod
    def from_json(cls, text: str, source: str = "settings", overrides: str = "") -> Self:
        """As of all settings; where `overrides` name another model, it comes with its own defaults."""
        if overrides.strip():
            given = cls.from_json(text, source)
            usual = cls.model_validate({"model": given.model}).model_dump(mode="json")
            text = json.dumps({**_differing(given.model_dump(mode="json"), usual), "model": given.model})
        return super().from_json(text, source, overrides)

    @model_validator(mode="before")
    @classmethod
    def _complete_by_model(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return _merged(MODEL_DEFAULTS.get(values.get("model", "dpsr"), {}), values)

    @model_validator(mode="after")
    def _fits_the_model(self) -> "TrainerConfig":
        if self.model != "dpsr" and self.heads != 1:
            raise ValueError(f"`{self.model}` has one query vector: set `heads: 1`, or `model: dpsr` for several")
        if self.model == "mgdspr" and self.embedding_dim != self.dim:
            raise ValueError(
                "`mgdspr` adds embeddings to the vectors that are searched: "
                f"`embedding_dim` ({self.embedding_dim}) and `dim` ({self.dim}) must be equal"
            )
        if self.model == "mgdspr" and self.embedding_dim % self.attention_heads:
            raise ValueError(
                f"`attention_heads` ({self.attention_heads}) must divide `embedding_dim` ({self.embedding_dim})"
            )
        if self.negatives.mixed and self.loss.kind == "hinge":
            raise ValueError(
                "`negatives.mixed` needs the softmax loss: set `loss.kind: softmax`, or `negatives.mixed: 0`"
            )
        if self.negatives.mixed and self.heads > 1:
            raise ValueError(
                f"`negatives.mixed` needs one query vector, by which mixtures are scored, and `heads` is {self.heads}: "
                "set `heads: 1`, or `negatives.mixed: 0`"
            )
        if self.loss.ranking_weight and self.loss.ranking_kind == "levels" and self.loss.kind == "hinge":
            raise ValueError(
                "`loss.ranking_kind: levels` needs `loss.kind: softmax`: set that, or another `loss.ranking_kind`"
            )
        return self


def _merged(defaults: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """`values`, and from `defaults` what they lack, group by group."""
    merged = {**defaults, **values}
    for name, default in defaults.items():
        if isinstance(default, Mapping) and isinstance(values.get(name), Mapping):
            merged[name] = _merged(default, values[name])
    return merged


def _differing(values: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `values` that are not as `usual`, group by group."""
    return {
        name: _differing(value, usual[name]) if isinstance(value, Mapping) else value
        for name, value in values.items()
        if value != usual[name]
    }

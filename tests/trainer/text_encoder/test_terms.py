"""Terms to vectors of the wanted width."""

import dataclasses

import numpy as np
import pytest
from sklearn.decomposition import PCA

from tests.trainer.text_encoder import tiny_encoders
from tests.trainer.text_encoder.tiny_encoders import DIM
from trainer.text_encoder import load_encoder, term_vectors

TERMS = ["red", "blue", "shoe", "shoes", "laptop", "lap", "tea", "teapot", "ssd", "red shoe", "blue tea", "pot"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder")
    tiny_encoders.write_bert(folder)
    return load_encoder(str(folder))


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def cosines(vectors):
    return unit(vectors) @ unit(vectors).T


def test_terms_are_reduced_as_by_a_pca(encoder):
    reduced = term_vectors(encoder, TERMS, 3)
    assert (reduced.shape, reduced.dtype) == ((len(TERMS), 3), np.float32)
    expected = unit(PCA(n_components=3, svd_solver="full").fit_transform(encoder.encode(TERMS)))
    for column in range(3):
        # Which way a component points is free.
        sign = np.sign(reduced[:, column] @ expected[:, column])
        np.testing.assert_allclose(reduced[:, column], sign * expected[:, column], atol=1e-4)


def test_full_width_cosines_are_those_of_centered_vectors(encoder):
    vectors = encoder.encode(TERMS)
    expected = cosines(vectors - vectors.mean(axis=0))
    np.testing.assert_allclose(cosines(term_vectors(encoder, TERMS, DIM)), expected, atol=1e-4)


def test_a_weight_counts_as_that_many_terms(encoder):
    weights = np.arange(len(TERMS))
    repeated = PCA(n_components=3, svd_solver="full").fit(encoder.encode(np.repeat(TERMS, weights).tolist()))
    expected = unit(repeated.transform(encoder.encode(TERMS)))
    found = term_vectors(encoder, TERMS, 3, weights)
    np.testing.assert_allclose(cosines(found), cosines(expected), atol=1e-3)


def test_weights_of_any_scale_give_the_same_vectors(encoder):
    weights = np.linspace(0.1, 3.0, len(TERMS))
    np.testing.assert_allclose(
        term_vectors(encoder, TERMS, 4, weights), term_vectors(encoder, TERMS, 4, 1e6 * weights), atol=1e-5
    )


def test_components_point_one_way(encoder):
    reduced = term_vectors(encoder, TERMS, 4)
    mirrored = dataclasses.replace(encoder, forward=lambda ids, mask: encoder.forward(ids, mask)[:, ::-1])
    np.testing.assert_allclose(term_vectors(mirrored, TERMS, 4), reduced, atol=1e-4)
    assert (term_vectors(encoder, TERMS, 4) == reduced).all()


def test_more_dimensions_than_the_encoder_has_are_zeros(encoder, caplog):
    reduced = term_vectors(encoder, TERMS, DIM + 3)
    # The layer normalization that ends BERT leaves one dimension less.
    assert (reduced[:, DIM - 1 :] == 0.0).all()
    np.testing.assert_allclose(np.linalg.norm(reduced, axis=1), 1.0, rtol=1e-5)
    assert f"span {DIM - 1} dimensions: the last 4 of {DIM + 3} are zeros" in caplog.text


def test_fewer_terms_than_dimensions_fill_what_they_span(encoder):
    reduced = term_vectors(encoder, ["red", "shoe", "tea"], 5)
    assert (reduced[:, 2:] == 0.0).all()
    np.testing.assert_allclose(np.linalg.norm(reduced, axis=1), 1.0, rtol=1e-5)
    assert (term_vectors(encoder, ["red"], 5) == 0.0).all()


def test_terms_that_the_encoder_does_not_know_are_zeros(tmp_path):
    tiny_encoders.write_model2vec(tmp_path)
    static = load_encoder(str(tmp_path))
    reduced = term_vectors(static, [*TERMS, "unheard", "of"], 4)
    assert (reduced[-2:] == 0.0).all()
    np.testing.assert_allclose(reduced[:-2], term_vectors(static, TERMS, 4), atol=1e-5)
    assert (term_vectors(static, ["unheard", "of"], 4) == 0.0).all()


@pytest.mark.parametrize("weights", [[1.0], [-1.0, 1.0], [0.0, 0.0], [float("nan"), 1.0]])
def test_weights_that_cannot_weigh_are_refused(weights, encoder):
    with pytest.raises(ValueError, match="of 2 terms must be finite, not negative, and not all zero"):
        term_vectors(encoder, ["red", "tea"], 2, weights)

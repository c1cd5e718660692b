from tests.evaluation.conftest import examples_dir, servables

__all__ = ["examples_dir", "servables"]

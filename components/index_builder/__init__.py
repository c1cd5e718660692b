"""From a trained model and a catalog to the servable: query tower, item table and index in one SavedModel."""

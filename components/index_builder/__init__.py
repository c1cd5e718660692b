"""From a trained model and a catalogue to the servable: query tower, item table and index in one SavedModel."""

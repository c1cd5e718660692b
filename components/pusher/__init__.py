"""The step that hands a blessed servable to the folder that servers watch."""

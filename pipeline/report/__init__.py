"""The report: one HTML file that shows a comparison and all it rests on."""

"""Baking MakeHuman garments, shoes, hats and hair into a wardrobe for the open body."""

"""Delivery to servers that assign the ids themselves: conditional updates."""

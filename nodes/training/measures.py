"""The node types of ….
"""

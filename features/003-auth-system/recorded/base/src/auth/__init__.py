"""Who is it, and may they come in?"""

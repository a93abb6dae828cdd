"""Records to what a person sees: terminal tables and pictures. No renderer ever sees a model."""

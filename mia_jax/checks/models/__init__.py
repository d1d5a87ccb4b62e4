"""Whether target and shadows are models of one kind: a model beside the others."""

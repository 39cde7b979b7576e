"""Fields of objects: which there are by type, who manages them, and how patches change them.

What belongs here: pure functions on dictionaries, with Kubernetes' exact results and messages.

    schema   a type as a merge sees it: scalars, lists by key or as a whole, maps by field or as a whole
    sets     sets of field paths, and the form in which `managedFields` keeps them
    typed    walking values of a type: check, fields of, merge, compare, remove
    managed  `metadata.managedFields`: tracking of create, update and patch; server-side apply
    patch    JSON patch and merge patch; strategic has the strategic merge patch

What does not: requests, storage and admission (`operatorkit.controlplane.embedded`), what one kind has of its own
(`operatorkit.controlplane.embedded.scheme`), structural schemas as such (`operatorkit.crd`).

Errors are `ApiError`s, with the code, reason, message and causes of the API server.
"""

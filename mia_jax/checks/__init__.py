"""Whether what a user gave fits together: labels, answers, numbers, and who is said to have trained what. Never imports
jax.

Nothing here measures an attack. Each file looks for one mishap that makes numbers wrong without an error, by statistics
in which honest files are hardly ever accused (simulated in its tests), and says it in a sentence that names models or
rows and the next move.

* Labels and classes: ``consistency``, ``exchanged_columns``, ``class_gaps``, ``unlike_columns``, ``other_labels``,
  ``guessing``, ``own_class``, ``largest_of_two``, ``by_heart``, ``no_classes``.
* Who trained on which record: ``memorization``, ``own_members``, ``trained_on_all``, ``slipped_members``,
  ``untold_rows``, ``unlike_memberships``, ``blind_guesses``, ``ignored_rows``, ``held_out``,
  ``drawn_together``.
* Rows: ``slipped_rows``, ``equal_answers``, ``near_answers``, ``padded_rows``.
* All models' answers: ``cut_answers``.
* A model beside the others: ``unlike_shadows``, ``odd_shadows``, ``temperatures``, ``lost_order``.
* One number per record: ``unlike_signals``, which asks the files on signals.
* A function that is asked twice: ``other_answers``, ``lone_signals``.
* A target without shadows: ``alone``.
* Records beside answers about them: ``other_records``.
* Records for shadows beside those in question: ``other_units``, ``other_order``, ``unlike_records``.
* Unlearning: ``unlearned``, ``one_run``.
* What none of them would notice in a file: ``unnoticed``.

``audits.deployed.remarks`` and ``numbers`` ask them all. ``samples`` and ``naming`` are shared.
"""
